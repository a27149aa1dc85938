# Finds a libtorch and gives it as the target mnistkit_torch.
#
# It links the libraries themselves and not through find_package(Torch), which stops where a CUDA
# build of torch meets a machine without the whole CUDA toolkit. Where libtorch_cuda is there, it
# is linked too, so that GPUs can be used at run time.
#
# Looked at, in this order:
#   MNISTKIT_TORCH_DIR   a folder with include/ and lib/: the torch package's, or a LibTorch archive
#   Torch_DIR            as find_package(Torch) takes it: <that folder>/share/cmake/Torch
#   CMAKE_PREFIX_PATH    with a LibTorch archive, or the torch package's folder, among its entries
#   Python               MNISTKIT_PYTHON, Python3_EXECUTABLE, Python_EXECUTABLE, the active virtual
#                        environment's, or the python3 on PATH: its torch package
# Sets MNISTKIT_TORCH_LIB_DIR.
#
# MNISTKIT_CUDA=OFF leaves GPUs out of a build against a CUDA build of torch: the program then needs
# libtorch_cpu alone, and none of the gigabytes of CUDA libraries.
option(MNISTKIT_CUDA "Use GPUs, where libtorch is a CUDA build" ON)

function(_mnistkit_python_torch result)
  set(python "")
  foreach(candidate IN ITEMS "${MNISTKIT_PYTHON}" "${Python3_EXECUTABLE}" "${Python_EXECUTABLE}"
                             "$ENV{VIRTUAL_ENV}/bin/python" "$ENV{VIRTUAL_ENV}/Scripts/python.exe")
    if(NOT python AND candidate AND EXISTS "${candidate}")
      set(python "${candidate}")
    endif()
  endforeach()
  if(NOT python)
    find_program(MNISTKIT_PYTHON NAMES python3 python)
    set(python "${MNISTKIT_PYTHON}")
  endif()
  set(${result} "" PARENT_SCOPE)
  if(python)
    # find_spec instead of an import, which would take seconds.
    execute_process(
      COMMAND "${python}" -c "import importlib.util as u
spec = u.find_spec('torch')
print(spec.submodule_search_locations[0] if spec else '', end='')"
      OUTPUT_VARIABLE folder ERROR_QUIET RESULT_VARIABLE failed)
    if(NOT failed)
      file(TO_CMAKE_PATH "${folder}" folder)
      set(${result} "${folder}" PARENT_SCOPE)
    endif()
  endif()
endfunction()

function(_mnistkit_find_torch result)
  set(candidates "${MNISTKIT_TORCH_DIR}")
  if(NOT MNISTKIT_TORCH_DIR)
    if(Torch_DIR)
      list(APPEND candidates "${Torch_DIR}/../../..")
    endif()
    foreach(prefix IN LISTS CMAKE_PREFIX_PATH)
      list(APPEND candidates "${prefix}" "${prefix}/../..")
    endforeach()
    _mnistkit_python_torch(folder)
    list(APPEND candidates "${folder}")
  endif()
  foreach(candidate IN LISTS candidates)
    if(EXISTS "${candidate}/include/torch/csrc/jit/api/module.h")
      get_filename_component(candidate "${candidate}" REALPATH)
      set(${result} "${candidate}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
  message(FATAL_ERROR
    "mnistkit::runner needs a libtorch, and none was found (looked in: ${candidates}).\n"
    "Install one (pip install torch) or unpack a LibTorch archive, and give its folder, the one "
    "with include/ and lib/, as -DMNISTKIT_TORCH_DIR=...")
endfunction()

_mnistkit_find_torch(_torch)
set(MNISTKIT_TORCH_LIB_DIR "${_torch}/lib")
foreach(name IN ITEMS c10 torch_cpu c10_cuda torch_cuda)
  find_library(_mnistkit_${name} ${name} PATHS "${MNISTKIT_TORCH_LIB_DIR}" NO_DEFAULT_PATH NO_CACHE)
endforeach()
if(NOT _mnistkit_c10 OR NOT _mnistkit_torch_cpu)
  message(FATAL_ERROR "${_torch}: has no libtorch_cpu and libc10 under lib/")
endif()

add_library(mnistkit_torch INTERFACE)
target_include_directories(mnistkit_torch SYSTEM INTERFACE
  "${_torch}/include" "${_torch}/include/torch/csrc/api/include")
target_link_libraries(mnistkit_torch INTERFACE "${_mnistkit_torch_cpu}" "${_mnistkit_c10}")
if(MNISTKIT_CUDA AND _mnistkit_torch_cuda AND _mnistkit_c10_cuda)
  set(_mnistkit_cuda "CUDA")
  if(APPLE OR WIN32)
    target_link_libraries(mnistkit_torch INTERFACE "${_mnistkit_torch_cuda}" "${_mnistkit_c10_cuda}")
  else()
    # Nothing refers to these two; libtorch finds its GPU code by their being loaded.
    target_link_libraries(mnistkit_torch INTERFACE
      "-Wl,--push-state,--no-as-needed,${_mnistkit_torch_cuda},${_mnistkit_c10_cuda},--pop-state")
  endif()
  # CUDA graphs want headers of the CUDA runtime, and no more of a toolkit. A toolkit has them, pip's
  # nvidia-cuda-crt completes those that come with torch, and Triton, which comes with it too,
  # brings a copy.
  find_path(_mnistkit_cuda_headers crt/host_config.h NO_DEFAULT_PATH NO_CACHE PATHS
    "${_torch}/../nvidia/cu13/include" "$ENV{CUDA_HOME}/include" "$ENV{CUDA_PATH}/include"
    /usr/local/cuda/include "${_torch}/../triton/backends/nvidia/include")
  if(_mnistkit_cuda_headers)
    target_include_directories(mnistkit_torch SYSTEM INTERFACE "${_mnistkit_cuda_headers}")
    target_compile_definitions(mnistkit_torch INTERFACE MNISTKIT_CUDA_HEADERS)
  else()
    string(APPEND _mnistkit_cuda ", without CUDA graphs: no crt/host_config.h")
  endif()
else()
  set(_mnistkit_cuda "CPU")
endif()
# Old LibTorch archives come with the C++ ABI from before C++11.
set(_config "${_torch}/share/cmake/Torch/TorchConfig.cmake")
if(EXISTS "${_config}")
  file(STRINGS "${_config}" _abi REGEX "_GLIBCXX_USE_CXX11_ABI=0")
  if(_abi)
    target_compile_definitions(mnistkit_torch INTERFACE _GLIBCXX_USE_CXX11_ABI=0)
  endif()
endif()
message(STATUS "mnistkit: libtorch (${_mnistkit_cuda}) in ${_torch}")
