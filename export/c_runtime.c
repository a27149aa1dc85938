/* The runtime of a net exported as C: plain C99, nothing allocated, nothing but memcpy needed.
 * mnistkit puts a header, the net's arrays and this file together; see export/c.py.
 *
 * A map is [y][x][channel]. int8 channels are padded to a multiple of four (but for one channel),
 * and so are the weights, [out][ky][kx][channel], or [out][ky][kx] with rows of a multiple of four
 * where a group has one channel. A window's row is then one run of bytes in both.
 */
#include <float.h>
#include <string.h>

#if defined(__ARM_FEATURE_DSP) && MNISTKIT_INT8
#include <arm_acle.h>
#endif

#if FLT_RADIX != 2 || FLT_MANT_DIG != 24 || FLT_MIN_EXP != -125 || FLT_MAX_EXP != 128
#error "this net wants float to be IEEE binary32; choose a target or flag with it"
#endif

#if MNISTKIT_INT8
typedef int8_t value_t;
typedef int32_t acc_t;
#define MNISTKIT_PAD 4
#else
typedef float value_t;
typedef float acc_t;
#define MNISTKIT_PAD 1
#endif

enum { CONV = 1, MAX_POOL = 2, AVG_POOL = 3, NO_CLAMP = -128 };

typedef struct {
  uint8_t kind, relu, last, pool; /* pool 2: a 2x2 max pool follows and is done with this op */
  uint16_t in_channels, in_height, in_width;
  uint16_t out_channels, out_height, out_width; /* before the pool that follows */
  uint8_t kernel, padding, stride;
  uint16_t groups;
  const value_t* weights;
  const acc_t* bias;
  const float* multiplier; /* one a channel (int8), or one (average pools) */
  uint32_t in, out;        /* bytes into the scratch */
} op_t;

/* @model */

/* What a kernel covers at one place, without what lies in the padding. */
typedef struct {
  const value_t* in;
  uint32_t weights;       /* from an output channel's first weight to the first that counts */
  int rows, columns, run; /* rows of `run` values */
  int row, pitch, size;   /* from a row to the next, of weights and of values; of a channel */
} window_t;

static int padded(int channels) {
  return channels == 1 ? 1 : (channels + MNISTKIT_PAD - 1) / MNISTKIT_PAD * MNISTKIT_PAD;
}

static int weight_row(const op_t* op) {
  const int depth = op->in_channels / op->groups;
  if (depth > 1) return op->kernel * padded(depth);
  return (op->kernel + MNISTKIT_PAD - 1) / MNISTKIT_PAD * MNISTKIT_PAD;
}

#if MNISTKIT_INT8
/* float32(sum) * multiplier, each rounded to binary32. Where floats are computed in wider registers
 * (x87), they are rounded on their way to memory; the product fits whole into such a register. */
static float scaled(int32_t sum, float multiplier) {
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD == 0
  return (float)sum * multiplier;
#else
  volatile float stored = (float)sum;
  stored = stored * multiplier;
  return stored;
#endif
}

/* round(sum * multiplier), ties to even, in low..127. What is done to the product in float is
 * exact, so that no compiler flag can make a difference; it is rounded as an integer of 24 binary
 * places. Those below 2^-24, which are lost, belong to values under 1/2. */
static int8_t requantize(int32_t sum, float multiplier, float low) {
  const float value = scaled(sum, multiplier);
  const float clamped = value < low ? low : value > 127.0f ? 127.0f : value;
  const int32_t fixed = (int32_t)(clamped * 16777216.0f);
  /* 1/2, less the last bit where the integer is even: so a tie carries where it is odd */
  return (int8_t)((fixed + 0x7FFFFF + (fixed >> 24 & 1)) >> 24);
}
#endif

static acc_t dot(acc_t acc, const value_t* a, const value_t* w, int n) {
#if defined(__ARM_FEATURE_DSP) && MNISTKIT_INT8
  for (; n >= 4; n -= 4, a += 4, w += 4) {
    uint32_t x, y;
    memcpy(&x, a, 4);
    memcpy(&y, w, 4);
    acc = __smlad(__sxtb16(x), __sxtb16(y), acc);
    acc = __smlad(__sxtb16(x >> 8 | x << 24), __sxtb16(y >> 8 | y << 24), acc);
  }
#endif
  for (; n > 0; --n) acc += (acc_t)*a++ * (acc_t)*w++;
  return acc;
}

static window_t window_at(const op_t* op, const value_t* in, int y, int x) {
  const int step = padded(op->in_channels), width = op->in_width, row = weight_row(op);
  const int top = y * op->stride - op->padding, left = x * op->stride - op->padding;
  const int ky = top < 0 ? -top : 0, kx = left < 0 ? -left : 0;
  const int below = top + op->kernel - op->in_height, right = left + op->kernel - width;
  const int columns = op->kernel - kx - (right > 0 ? right : 0);
  const int depth_step = padded(op->in_channels / op->groups);
  const int whole = op->in_channels == 1 && columns == op->kernel; /* zeros pad the weights' rows */
  window_t window;
  window.rows = op->kernel - ky - (below > 0 ? below : 0);
  window.run = whole ? row : columns * step;
  window.columns = columns;
  window.row = row;
  window.pitch = width * step;
  window.size = op->kernel * row;
  if (window.rows < 0 || columns < 0) window.rows = 0;
  window.weights = (uint32_t)(ky * row + kx * depth_step);
  window.in = window.rows ? in + ((top + ky) * width + left + kx) * step : in;
  return window;
}

/* Output channel o of a convolution without groups. */
static acc_t dense(const op_t* op, const window_t* window, int o) {
  const value_t *w = op->weights + o * window->size + window->weights, *a = window->in;
  acc_t acc = op->bias[o];
  int y;
  for (y = 0; y < window->rows; ++y, a += window->pitch, w += window->row) {
    acc = dot(acc, a, w, window->run);
  }
  return acc;
}

/* The same of a depthwise convolution, with a channel for each group. */
static acc_t depthwise(const op_t* op, const window_t* window, int o) {
  const int channels = padded(op->in_channels);
  const value_t *w = op->weights + o * window->size + window->weights, *a = window->in + o;
  acc_t acc = op->bias[o];
  int y, x;
  for (y = 0; y < window->rows; ++y, a += window->pitch, w += window->row) {
    const value_t* at = a;
    for (x = 0; x < window->columns; ++x, at += channels) acc += (acc_t)*at * (acc_t)w[x];
  }
  return acc;
}

/* The same with any groups. */
static acc_t grouped(const op_t* op, const window_t* window, int o) {
  const int depth = op->in_channels / op->groups, step = padded(depth);
  const value_t* w = op->weights + o * window->size + window->weights;
  const value_t* a = window->in + o / (op->out_channels / op->groups) * depth;
  acc_t acc = op->bias[o];
  int y, x, i;
  for (y = 0; y < window->rows; ++y, a += window->pitch, w += window->row) {
    const value_t* at = a;
    for (x = 0; x < window->columns; ++x, at += padded(op->in_channels)) {
      for (i = 0; i < depth; ++i) acc += (acc_t)at[i] * (acc_t)w[x * step + i];
    }
  }
  return acc;
}

static void conv(const op_t* op, const value_t* in, value_t* out, acc_t* sums) {
  const int side = op->pool, channels = padded(op->out_channels);
  const int channelwise = op->groups == op->in_channels && op->groups == op->out_channels;
  int y, x, o, i;
  for (y = 0; y < op->out_height / side; ++y) {
    for (x = 0; x < op->out_width / side; ++x) {
      window_t windows[4];
      for (i = 0; i < side * side; ++i) {
        windows[i] = window_at(op, in, y * side + i / side, x * side + i % side);
      }
      for (o = 0; o < op->out_channels; ++o) {
        acc_t acc = 0;
        for (i = 0; i < side * side; ++i) {
          const acc_t one = op->groups == 1 ? dense(op, &windows[i], o)
                            : channelwise   ? depthwise(op, &windows[i], o)
                                            : grouped(op, &windows[i], o);
          if (i == 0 || one > acc) acc = one;
        }
        if (op->last) {
          sums[o] += acc;
          continue;
        }
#if MNISTKIT_INT8
        out[o] = requantize(acc, op->multiplier[o], op->relu ? 0.0f : -128.0f);
#else
        out[o] = op->relu && acc < 0 ? 0 : acc;
#endif
      }
      if (op->last) continue;
      for (; o < channels; ++o) out[o] = 0;
      out += channels;
    }
  }
}

static void max_pool(const op_t* op, const value_t* in, value_t* out) {
  const int channels = padded(op->in_channels), size = op->kernel;
  int y, x, c, i;
  for (y = 0; y < op->out_height; ++y) {
    for (x = 0; x < op->out_width; ++x) {
      for (c = 0; c < channels; ++c) {
        const value_t* corner = in + (y * size * op->in_width + x * size) * channels + c;
        value_t largest = *corner;
        for (i = 1; i < size * size; ++i) {
          const value_t value = corner[(i / size * op->in_width + i % size) * channels];
          if (value > largest) largest = value;
        }
        *out++ = largest;
      }
    }
  }
}

static void avg_pool(const op_t* op, const value_t* in, value_t* out) {
  const int channels = padded(op->in_channels), pixels = op->in_height * op->in_width;
  int c, i;
  for (c = 0; c < channels; ++c) {
    acc_t sum = 0;
    for (i = 0; i < pixels; ++i) sum += in[i * channels + c];
#if MNISTKIT_INT8
    out[c] = requantize(sum, *op->multiplier, -128.0f);
#else
    out[c] = sum * *op->multiplier;
#endif
  }
}

void MNISTKIT_RUN(const uint8_t* image, float* logits, void* scratch) {
  uint8_t* base = (uint8_t*)scratch;
  value_t* values = (value_t*)(void*)(base + ops[0].in);
  acc_t sums[10] = {0};
  unsigned i;
  for (i = 0; i < 784; ++i) {
#if MNISTKIT_INT8
    values[i] = (int8_t)(image[i] >> 1); /* round(x * 127 / 255) */
#else
    values[i] = (float)image[i] * (1.0f / 255.0f);
#endif
  }
  for (i = 0; i < sizeof ops / sizeof *ops; ++i) {
    const op_t* op = &ops[i];
    const value_t* in = (const value_t*)(const void*)(base + op->in);
    value_t* out = (value_t*)(void*)(base + op->out);
    if (op->kind == CONV) {
      conv(op, in, out, sums);
    } else if (op->kind == MAX_POOL) {
      max_pool(op, in, out);
    } else {
      avg_pool(op, in, out);
    }
  }
  for (i = 0; i < 10; ++i) {
#if MNISTKIT_INT8
    logits[i] = scaled(sums[i], logit_scale[i]);
#else
    logits[i] = sums[i] * logit_scale[i];
#endif
  }
}
