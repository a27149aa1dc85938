/* A CUDA driver with no GPU behind it, for the logic of the code that calls one.
 *
 * Device memory is host memory. What is queued on a stream happens when the stream is waited for,
 * so whoever reads too early reads old bytes. Everything that wants a context fails without a
 * current one. What is alive is counted; "fake_live" tells. It says nothing about real GPUs.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
enum { OK = 0, INVALID_VALUE = 1, NO_CONTEXT = 201, NOT_FOUND = 500, CAPTURE = 900 };

typedef struct {
  void* to;
  const void* from;
  size_t bytes;
} Copy;
typedef struct {
  Copy work[256];
  int count;
  int capturing;
} Stream;
typedef struct {
  Copy work[256];
  int count;
} Graph;

static int live, retained;
static _Thread_local int depth;

int fake_live(void) { return live; }
int fake_retained(void) { return retained; }
int fake_depth(void) { return depth; }

#define NEED_CONTEXT \
  if (depth == 0) return NO_CONTEXT

static void* make(size_t bytes) {
  ++live;
  return calloc(1, bytes ? bytes : 1);
}
static CUresult drop(void* it) {
  if (!it) return INVALID_VALUE;
  --live;
  free(it);
  return OK;
}

CUresult cuInit(unsigned flags) { return flags ? INVALID_VALUE : OK; }
CUresult cuDriverGetVersion(int* version) {
  *version = 13000;
  return OK;
}
CUresult cuDeviceGetCount(int* count) {
  *count = 1;
  return OK;
}
CUresult cuDeviceGet(int* device, int index) {
  *device = index;
  return index ? 101 : OK;
}
CUresult cuDeviceGetName(char* name, int size, int device) {
  (void)device;
  strncpy(name, "Fake GPU", (size_t)size);
  return OK;
}
CUresult cuDeviceGetAttribute(int* value, int attribute, int device) {
  (void)device;
  *value = attribute == 75 ? 8 : attribute == 76 ? 9 : 42;
  return OK;
}
CUresult cuGetErrorString(CUresult code, const char** text) {
  *text = code == NO_CONTEXT ? "invalid device context" : "pretended error";
  return OK;
}
CUresult cuGetErrorName(CUresult code, const char** text) { return cuGetErrorString(code, text); }

CUresult cuDevicePrimaryCtxRetain(void** context, int device) {
  (void)device;
  *context = &retained;
  ++retained;
  return OK;
}
CUresult cuDevicePrimaryCtxRelease_v2(int device) {
  (void)device;
  --retained;
  return OK;
}
CUresult cuCtxPushCurrent_v2(void* context) {
  if (context != &retained || retained < 1) return NO_CONTEXT;
  ++depth;
  return OK;
}
CUresult cuCtxPopCurrent_v2(void** context) {
  NEED_CONTEXT;
  --depth;
  if (context) *context = &retained;
  return OK;
}
CUresult cuCtxGetCurrent(void** context) {
  *context = depth ? &retained : NULL;
  return OK;
}
CUresult cuCtxGetDevice(int* device) {
  *device = 0;
  NEED_CONTEXT;
  return OK;
}
CUresult cuCtxGetApiVersion(void* context, unsigned* version) {
  (void)context;
  *version = 13000;
  return OK;
}
CUresult cuCtxSynchronize(void) {
  NEED_CONTEXT;
  return OK;
}

CUresult cuMemAlloc_v2(uintptr_t* pointer, size_t bytes) {
  NEED_CONTEXT;
  *pointer = (uintptr_t)make(bytes);
  return OK;
}
CUresult cuMemFree_v2(uintptr_t pointer) {
  NEED_CONTEXT;
  return drop((void*)pointer);
}
CUresult cuMemHostAlloc(void** pointer, size_t bytes, unsigned flags) {
  (void)flags;
  NEED_CONTEXT;
  *pointer = make(bytes);
  return OK;
}
CUresult cuMemFreeHost(void* pointer) {
  NEED_CONTEXT;
  return drop(pointer);
}

CUresult cuStreamCreate(Stream** stream, unsigned flags) {
  NEED_CONTEXT;
  if (flags != 1) return INVALID_VALUE;
  *stream = make(sizeof(Stream));
  return OK;
}
CUresult cuStreamDestroy_v2(Stream* stream) {
  NEED_CONTEXT;
  return drop(stream);
}
static void run(Copy* work, int count) {
  for (int i = 0; i < count; ++i) memcpy(work[i].to, work[i].from, work[i].bytes);
}
CUresult cuStreamSynchronize(Stream* stream) {
  NEED_CONTEXT;
  if (stream->capturing) return CAPTURE;
  run(stream->work, stream->count);
  stream->count = 0;
  return OK;
}
static CUresult queue(Stream* stream, void* to, const void* from, size_t bytes) {
  NEED_CONTEXT;
  if (!stream || stream->count == 256) return INVALID_VALUE;
  stream->work[stream->count++] = (Copy){to, from, bytes};
  return OK;
}
CUresult cuMemcpyHtoDAsync_v2(uintptr_t to, const void* from, size_t bytes, Stream* stream) {
  return queue(stream, (void*)to, from, bytes);
}
CUresult cuMemcpyDtoHAsync_v2(void* to, uintptr_t from, size_t bytes, Stream* stream) {
  return queue(stream, to, (const void*)from, bytes);
}

CUresult cuStreamBeginCapture_v2(Stream* stream, int mode) {
  NEED_CONTEXT;
  if (mode != 1 || stream->count) return INVALID_VALUE; /* 1: thread local */
  stream->capturing = 1;
  return OK;
}
CUresult cuStreamEndCapture(Stream* stream, Graph** graph) {
  NEED_CONTEXT;
  if (!stream->capturing) return CAPTURE;
  *graph = make(sizeof(Graph));
  memcpy((*graph)->work, stream->work, sizeof(stream->work));
  (*graph)->count = stream->count;
  stream->count = stream->capturing = 0;
  return OK;
}
CUresult cuGraphInstantiateWithFlags(Graph** made, Graph* graph, unsigned long long flags) {
  NEED_CONTEXT;
  if (flags) return INVALID_VALUE;
  *made = make(sizeof(Graph));
  **made = *graph;
  return OK;
}
CUresult cuGraphLaunch(Graph* graph, Stream* stream) {
  NEED_CONTEXT;
  for (int i = 0; i < graph->count; ++i) {
    CUresult code = queue(stream, graph->work[i].to, graph->work[i].from, graph->work[i].bytes);
    if (code) return code;
  }
  return OK;
}
CUresult cuGraphExecDestroy(Graph* graph) {
  NEED_CONTEXT;
  return drop(graph);
}
CUresult cuGraphDestroy(Graph* graph) {
  NEED_CONTEXT;
  return drop(graph);
}

/* Callers ask for "cuMemAlloc" and mean the newest of its versions. */
CUresult cuGetProcAddress_v2(const char* name, void** function, int version, uint64_t flags,
                             int* status) {
  (void)version;
  (void)flags;
  char versioned[128];
  *function = NULL;
  if (strlen(name) < sizeof(versioned) - 3) {
    strcpy(versioned, name);
    *function = dlsym(RTLD_DEFAULT, strcat(versioned, "_v2"));
    if (!*function) *function = dlsym(RTLD_DEFAULT, name);
    if (!*function && !strcmp(name, "cuGraphInstantiate"))
      *function = (void*)cuGraphInstantiateWithFlags;
  }
  if (status) *status = *function ? 0 : 1;
  return OK;
}
