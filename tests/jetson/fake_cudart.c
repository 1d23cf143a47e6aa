/* What jetson/edgedistill_device/engine/cuda_memory.py calls of libcudart, on the process's own memory.

With -DREAL_HEADER it is compiled against NVIDIA's own cuda_runtime_api.h, so that each function here has the
published types (tests/edgedistill/test_cuda_calls.py). CUDART_MAJOR is the release, 10 unless told otherwise.

While the stream is captured nothing that is queued runs, and what may not be called is refused, as on a GPU: TensorRT's
fake asks `capturing` and hands its work to `record`; cudaGraphLaunch calls it. FAKE_CUDA_ERROR is what the first
call answers; FAKE_CUDA_SHARES=0 is a GPU with a memory of its own. */
#include <stdlib.h>
#include <string.h>
#ifdef REAL_HEADER
#include <cuda_runtime_api.h>
#define DEVICE_ATTRIBUTE enum cudaDeviceAttr
#define COPY_KIND enum cudaMemcpyKind
#define CAPTURE_MODE enum cudaStreamCaptureMode
#else
typedef int cudaError_t;
typedef void *cudaStream_t, *cudaEvent_t, *cudaGraph_t, *cudaGraphExec_t, *cudaGraphNode_t;
#define CUDARTAPI
#define DEVICE_ATTRIBUTE int
#define COPY_KIND int
#define CAPTURE_MODE int
#endif
#ifndef CUDART_MAJOR
#define CUDART_MAJOR 10
#endif
#define MOST 8
#define NOT_WHILE_CAPTURING if (captured) return (cudaError_t)900
typedef void (*work_t)(void);
struct graph { int count; work_t works[MOST]; };
static int held = 0, mapped_count = 0;
static void *mapped[64];
static struct graph *captured = NULL;
static void *captured_stream = NULL;

int held_now(void) { return held; }
int capturing(void *stream) { return captured != NULL && stream == captured_stream; }
void record(work_t work) { captured->works[captured->count++] = work; }
int is_mapped(void *pointer) {
    for (int i = 0; i < mapped_count; i++) if (mapped[i] == pointer) return 1;
    return 0;
}
static cudaError_t take(void **p, size_t size) {
    if (size > ((size_t)1 << 40)) return (cudaError_t)2;
    *p = malloc(size); held++;
    return (cudaError_t)0;
}
static cudaError_t give(void *p) { free(p); held--; return (cudaError_t)0; }

const char *CUDARTAPI cudaGetErrorString(cudaError_t error) {
    int code = (int)error;
    return code == 2 ? "out of memory" : code == 801 ? "operation not supported"
        : code == 900 ? "operation not permitted when stream is capturing" : "unknown";
}
cudaError_t CUDARTAPI cudaGetDeviceCount(int *count) {
    const char *error = getenv("FAKE_CUDA_ERROR");
    *count = 1;
    return (cudaError_t)(error ? atoi(error) : 0);
}
cudaError_t CUDARTAPI cudaDeviceGetAttribute(int *value, DEVICE_ATTRIBUTE attribute, int device) {
    const char *shares = getenv("FAKE_CUDA_SHARES");
    if (device) return (cudaError_t)101;
    *value = attribute == 75 ? 7 : attribute == 76 ? 2 : attribute == 18 ? !shares || atoi(shares) : attribute == 19 ? 1 : -1;
    return (cudaError_t)0;
}
cudaError_t CUDARTAPI cudaRuntimeGetVersion(int *version) { *version = 10020; return (cudaError_t)0; }
cudaError_t CUDARTAPI cudaMalloc(void **p, size_t size) { NOT_WHILE_CAPTURING; return take(p, size); }
cudaError_t CUDARTAPI cudaFree(void *p) { return give(p); }
cudaError_t CUDARTAPI cudaHostAlloc(void **p, size_t size, unsigned int flags) {
    NOT_WHILE_CAPTURING;
    if (flags & ~2u) return (cudaError_t)1;
    cudaError_t error = take(p, size);
    if (flags && !error) mapped[mapped_count++ % 64] = *p;
    return error;
}
cudaError_t CUDARTAPI cudaHostGetDevicePointer(void **address, void *p, unsigned int flags) {
    *address = p;
    return (cudaError_t)(flags || !is_mapped(p) ? 1 : 0);
}
cudaError_t CUDARTAPI cudaFreeHost(void *p) {
    for (int i = 0; i < mapped_count; i++) if (mapped[i] == p) mapped[i] = NULL;
    return give(p);
}
cudaError_t CUDARTAPI cudaStreamCreate(cudaStream_t *s) { return take((void **)s, 8); }
cudaError_t CUDARTAPI cudaStreamDestroy(cudaStream_t s) { return give(s); }
cudaError_t CUDARTAPI cudaStreamSynchronize(cudaStream_t s) { NOT_WHILE_CAPTURING; return (cudaError_t)(s ? 0 : 1); }
cudaError_t CUDARTAPI cudaMemcpyAsync(void *to, const void *from, size_t size, COPY_KIND kind, cudaStream_t s) {
    NOT_WHILE_CAPTURING; /* a real one is captured; ours would be one copy too many in the graph */
    if (kind != 1 && kind != 2) return (cudaError_t)21;
    memcpy(to, from, size);
    return (cudaError_t)(s ? 0 : 1);
}
cudaError_t CUDARTAPI cudaStreamBeginCapture(cudaStream_t s, CAPTURE_MODE mode) {
    NOT_WHILE_CAPTURING;
    if (!s || mode != 1) return (cudaError_t)1;
    captured = calloc(1, sizeof(struct graph)); captured_stream = s; held++;
    return (cudaError_t)0;
}
cudaError_t CUDARTAPI cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *graph) {
    if (!captured || s != captured_stream) return (cudaError_t)901;
    *graph = (cudaGraph_t)captured; captured = NULL;
    return (cudaError_t)0;
}
#if CUDART_MAJOR >= 12
cudaError_t CUDARTAPI cudaGraphInstantiate(cudaGraphExec_t *made, cudaGraph_t graph, unsigned long long flags) {
    if (flags) return (cudaError_t)1;
#else
cudaError_t CUDARTAPI cudaGraphInstantiate(
    cudaGraphExec_t *made, cudaGraph_t graph, cudaGraphNode_t *at, char *log, size_t size) {
    if (at || log || size) return (cudaError_t)1;
#endif
    cudaError_t error = take((void **)made, sizeof(struct graph));
    memcpy((void *)*made, (void *)graph, sizeof(struct graph));
    return error;
}
cudaError_t CUDARTAPI cudaGraphLaunch(cudaGraphExec_t made, cudaStream_t s) {
    struct graph *graph = (struct graph *)made;
    for (int i = 0; i < graph->count; i++) graph->works[i]();
    return (cudaError_t)(s && graph->count ? 0 : 1);
}
cudaError_t CUDARTAPI cudaGraphExecDestroy(cudaGraphExec_t made) { return give(made); }
cudaError_t CUDARTAPI cudaGraphDestroy(cudaGraph_t graph) { return give(graph); }
cudaError_t CUDARTAPI cudaEventCreate(cudaEvent_t *e) { return take((void **)e, 8); }
cudaError_t CUDARTAPI cudaEventDestroy(cudaEvent_t e) { return give(e); }
cudaError_t CUDARTAPI cudaEventRecord(cudaEvent_t e, cudaStream_t s) { return (cudaError_t)(e && s ? 0 : 1); }
cudaError_t CUDARTAPI cudaEventElapsedTime(float *ms, cudaEvent_t a, cudaEvent_t b) {
    *ms = 1.5f;
    return (cudaError_t)(a && b ? 0 : 1);
}
