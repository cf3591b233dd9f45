// out[c] += sum over rows of weight[r] x[r, c] (weight 1 if null), in two stages: each block sums some
// rows of 8 columns per thread, then the blocks' sums are added in a fixed order.

template <typename T>
DEVICE void column_sums(float *partial, const T *x, const float *weights, int rows, int cols, i64 stride,
                        int rows_per_block) {
    int col = (blockIdx.y * blockDim.x + threadIdx.x) * 8;
    if (col >= cols) return;
    bool wide = stride % 8 == 0 && aligned(x);
    int first = blockIdx.x * rows_per_block, end = min(rows, first + rows_per_block);
    Eight sum = {0, 0, 0, 0, 0, 0, 0, 0};
    for (int row = first; row < end; row++) {
        Eight v;
        load8(v, x + row * stride + col, cols - col, wide);
        float weight = weights ? weights[row] : 1.0f;
        UNROLL for (int i = 0; i < 8; i++) sum[i] = fmaf(weight, v[i], sum[i]);
    }
    store8(partial + (i64)blockIdx.x * cols + col, sum, cols - col, false);
}
KERNEL(column_sums_f32, float *partial, const float *x, const float *weights, int rows, int cols, i64 stride, int rows_per_block) {
    column_sums(partial, x, weights, rows, cols, stride, rows_per_block);
}
KERNEL(column_sums_bf16, float *partial, const bf16 *x, const float *weights, int rows, int cols, i64 stride, int rows_per_block) {
    column_sums(partial, x, weights, rows, cols, stride, rows_per_block);
}

// Blocks of 32 columns x 8 groups of parts.
KERNEL(column_sums_finish, float *out, const float *partial, int parts, int cols) {
    __shared__ float sums[8][33];
    int x = threadIdx.x % 32, group = threadIdx.x / 32, col = blockIdx.x * 32 + x;
    float sum = 0;
    if (col < cols)
        for (int part = group; part < parts; part += 8) sum += partial[(i64)part * cols + col];
    sums[group][x] = sum;
    __syncthreads();
    if (group == 0 && col < cols) {
        UNROLL for (int i = 1; i < 8; i++) sum += sums[i][x];
        out[col] += sum;
    }
}
