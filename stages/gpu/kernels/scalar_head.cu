// v_t = w . h_t + b, one warp per token; backward dh_t += dv_t w (dw and db by column_sums.cu).

template <typename T>
DEVICE void scalar_head_forward(float *values, const T *hidden, const float *w, const float *bias, int rows, int width) {
    int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= rows) return;
    const T *h = hidden + (i64)row * width;
    bool wide = width % 8 == 0 && aligned(hidden) && aligned(w);
    float sum = 0;
    for (int col = lane * 8; col < width; col += 256) {
        Eight v, scale;
        load8(v, h + col, width - col, wide);
        load8(scale, w + col, width - col, wide);
        UNROLL for (int i = 0; i < 8; i++) sum = fmaf(v[i], scale[i], sum);
    }
    sum = warp_sum(sum);
    if (lane == 0) values[row] = sum + (bias ? *bias : 0.0f);
}
KERNEL(scalar_head_forward_f32, float *values, const float *hidden, const float *w, const float *bias, int rows, int width) {
    scalar_head_forward(values, hidden, w, bias, rows, width);
}
KERNEL(scalar_head_forward_bf16, float *values, const bf16 *hidden, const float *w, const float *bias, int rows, int width) {
    scalar_head_forward(values, hidden, w, bias, rows, width);
}

KERNEL(scalar_head_backward, float *d_hidden, const float *d_values, const float *w, int rows, int width) {
    int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= rows) return;
    float d = d_values[row];
    // Most tokens of a preference batch have none.
    if (d == 0) return;
    float *to = d_hidden + (i64)row * width;
    bool wide = width % 8 == 0 && aligned(d_hidden) && aligned(w);
    for (int col = lane * 8; col < width; col += 256) {
        Eight v, scale;
        load8(v, to + col, width - col, wide);
        load8(scale, w + col, width - col, wide);
        UNROLL for (int i = 0; i < 8; i++) v[i] = fmaf(d, scale[i], v[i]);
        store8(to + col, v, width - col, wide);
    }
}
