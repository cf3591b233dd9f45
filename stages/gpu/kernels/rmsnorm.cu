// RMSNorm: y = w x r, r = 1 / sqrt(mean(x^2) + eps) per row; with `branch`, x is first replaced by
// x + branch, which is kept as `sum`. Backward, with g = dy w and width d: dx += r (g - x r^2 (g.x) / d),
// of which a copy may be kept for products; dw = sum over rows of dy x r, in two stages.
//
// Forward: one warp per row. Backward: one block for some rows, each thread the same columns of all of
// them; its share of dw grows in shared memory and becomes a row of `partial` (column_sums.cu ends it).

template <typename T, bool adds>
DEVICE void rmsnorm_forward(T *y, float *roots, float *sum, const float *x, const T *branch, const float *w,
                            float eps, int rows, int width) {
    int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= rows) return;
    i64 start = (i64)row * width;
    x += start, y += start;
    if (adds) sum += start, branch += start;
    bool wide = width % 8 == 0 && aligned(x) && aligned(y) && aligned(w) && (!adds || (aligned(sum) && aligned(branch)));
    float squares = 0;
    for (int col = lane * 8; col < width; col += 256) {
        Eight v;
        load8(v, x + col, width - col, wide);
        if (adds) {
            Eight b;
            load8(b, branch + col, width - col, wide);
            UNROLL for (int i = 0; i < 8; i++) v[i] += b[i];
            store8(sum + col, v, width - col, wide);
        }
        UNROLL for (int i = 0; i < 8; i++) squares = fmaf(v[i], v[i], squares);
    }
    float root = rsqrtf(warp_sum(squares) / width + eps);
    if (lane == 0) roots[row] = root;
    // A lane reads again what it read or wrote itself.
    const float *from = adds ? sum : x;
    for (int col = lane * 8; col < width; col += 256) {
        Eight v, scale;
        load8(v, from + col, width - col, wide);
        load8(scale, w + col, width - col, wide);
        UNROLL for (int i = 0; i < 8; i++) v[i] = scale[i] * (v[i] * root);
        store8(y + col, v, width - col, wide);
    }
}

template <typename T>
DEVICE void rmsnorm_recompute(T *y, const float *roots, const float *x, const float *w, int rows, int width) {
    int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= rows) return;
    i64 start = (i64)row * width;
    x += start, y += start;
    bool wide = width % 8 == 0 && aligned(x) && aligned(y) && aligned(w);
    float root = roots[row];
    for (int col = lane * 8; col < width; col += 256) {
        Eight v, scale;
        load8(v, x + col, width - col, wide);
        load8(scale, w + col, width - col, wide);
        UNROLL for (int i = 0; i < 8; i++) v[i] = scale[i] * (v[i] * root);
        store8(y + col, v, width - col, wide);
    }
}

// `copy` and `partial` may be null.
template <typename T>
DEVICE void rmsnorm_backward(float *dx, T *copy, float *partial, const T *dy, const float *roots, const float *x,
                             const float *w, int rows, int width, int rows_per_block) {
    DYNAMIC_SHARED(float, sums);
    __shared__ float scratch[32];
    bool wide = width % 8 == 0 && aligned(dx) && aligned(copy) && aligned(dy) && aligned(x) && aligned(w);
    int step = blockDim.x * 8, first = blockIdx.x * rows_per_block, end = min(rows, first + rows_per_block);
    if (partial)
        for (int col = threadIdx.x * 8; col < width; col += step)
            for (int i = 0; i < 8 && col + i < width; i++) sums[col + i] = 0;
    for (int row = first; row < end; row++) {
        i64 start = (i64)row * width;
        float along = 0;
        for (int col = threadIdx.x * 8; col < width; col += step) {
            Eight d, v, scale;
            load8(d, dy + start + col, width - col, wide);
            load8(v, x + start + col, width - col, wide);
            load8(scale, w + col, width - col, wide);
            UNROLL for (int i = 0; i < 8; i++) along = fmaf(d[i] * scale[i], v[i], along);
        }
        along = block_sum(along, scratch);
        float r = roots[row], pull = along * r * r * r / width;
        for (int col = threadIdx.x * 8; col < width; col += step) {
            Eight d, v, scale, out;
            load8(d, dy + start + col, width - col, wide);
            load8(v, x + start + col, width - col, wide);
            load8(scale, w + col, width - col, wide);
            load8(out, dx + start + col, width - col, wide);
            UNROLL for (int i = 0; i < 8; i++) out[i] += fmaf(d[i] * scale[i], r, -(v[i] * pull));
            store8(dx + start + col, out, width - col, wide);
            if (copy) store8(copy + start + col, out, width - col, wide);
            if (partial) {
                UNROLL for (int i = 0; i < 8; i++)
                    if (col + i < width) sums[col + i] = fmaf(d[i], v[i] * r, sums[col + i]);
            }
        }
    }
    if (partial)
        for (int col = threadIdx.x * 8; col < width; col += step)
            for (int i = 0; i < 8 && col + i < width; i++) partial[(i64)blockIdx.x * width + col + i] = sums[col + i];
}

#define RMSNORM(T)                                                                                                 \
    KERNEL(rmsnorm_forward_##T, T *y, float *roots, const float *x, const float *w, float eps, int rows, int width) {  \
        rmsnorm_forward<T, false>(y, roots, nullptr, x, nullptr, w, eps, rows, width);                             \
    }                                                                                                              \
    KERNEL(rmsnorm_add_forward_##T, T *y, float *roots, float *sum, const float *x, const T *branch,               \
           const float *w, float eps, int rows, int width) {                                                       \
        rmsnorm_forward<T, true>(y, roots, sum, x, branch, w, eps, rows, width);                                   \
    }                                                                                                              \
    KERNEL(rmsnorm_recompute_##T, T *y, const float *roots, const float *x, const float *w, int rows, int width) { \
        rmsnorm_recompute(y, roots, x, w, rows, width);                                                            \
    }                                                                                                              \
    KERNEL(rmsnorm_backward_##T, float *dx, T *copy, float *partial, const T *dy, const float *roots,              \
           const float *x, const float *w, int rows, int width, int rows_per_block) {                              \
        rmsnorm_backward(dx, copy, partial, dy, roots, x, w, rows, width, rows_per_block);                         \
    }
RMSNORM(f32)
RMSNORM(bf16)
