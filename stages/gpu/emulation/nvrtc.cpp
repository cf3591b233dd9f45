// NVRTC of the tests: compiles nothing, since the driver of the tests has the kernels already.

#include <cstddef>
#include <cstring>

extern "C" {
int nvrtcVersion(int *major, int *minor) { return *major = 13, *minor = 0, 0; }
int nvrtcCreateProgram(void **program, const char *, const char *, int, const char *const *, const char *const *) {
    static int one;
    return *program = &one, 0;
}
int nvrtcCompileProgram(void *, int, const char *const *) { return 0; }
int nvrtcGetCUBINSize(void *, size_t *size) { return *size = 6, 0; }
int nvrtcGetCUBIN(void *, char *image) { return std::memcpy(image, "tests", 6), 0; }
int nvrtcGetProgramLogSize(void *, size_t *size) { return *size = 1, 0; }
int nvrtcGetProgramLog(void *, char *log) { return *log = 0, 0; }
int nvrtcDestroyProgram(void **) { return 0; }
}
