/* What jetson/edgedistill_device/engine/cuda_memory.py calls of libcudart, on the process's own memory. */
#include <stdlib.h>
#include <string.h>
static int held = 0;
int held_now(void) { return held; }
const char *cudaGetErrorString(int code) { return code == 2 ? "out of memory" : "unknown"; }
int cudaGetDeviceCount(int *count) { *count = 1; return 0; }
int cudaDeviceGetAttribute(int *value, int attribute, int device) {
    if (device) return 101;
    *value = attribute == 75 ? 7 : attribute == 76 ? 2 : -1;
    return 0;
}
int cudaRuntimeGetVersion(int *version) { *version = 10020; return 0; }
int cudaMalloc(void **p, size_t size) {
    if (size > ((size_t)1 << 40)) return 2;
    *p = malloc(size); held++; return 0;
}
int cudaFree(void *p) { free(p); held--; return 0; }
int cudaHostAlloc(void **p, size_t size, unsigned flags) { return flags ? 1 : cudaMalloc(p, size); }
int cudaFreeHost(void *p) { return cudaFree(p); }
int cudaStreamCreate(void **s) { return cudaMalloc(s, 8); }
int cudaStreamDestroy(void *s) { return cudaFree(s); }
int cudaStreamSynchronize(void *s) { return s ? 0 : 1; }
int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *s) {
    if (kind != 1 && kind != 2) return 21;
    memcpy(to, from, size);
    return s ? 0 : 1;
}
int cudaEventCreate(void **e) { return cudaMalloc(e, 8); }
int cudaEventDestroy(void *e) { return cudaFree(e); }
int cudaEventRecord(void *e, void *s) { return e && s ? 0 : 1; }
int cudaEventElapsedTime(float *ms, void *a, void *b) { *ms = 1.5f; return a && b ? 0 : 1; }
