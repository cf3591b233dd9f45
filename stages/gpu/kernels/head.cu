// log p(y) = z_y - ln sum_v e^{z_v}; backward, given g = dL / d log p: dz = g (onehot(y) - softmax(z)) / temperature.
// z is already divided by the temperature. One block per row; z is read once for the sum, and once more backward.
// Rows with a target are gathered before and their gradients added back after.

// The largest value of a row and the sum of e^{z - largest}, in every thread.
DEVICE void row_sum(float &largest, float &sum, const float *z, int vocab, bool wide, float *scratch) {
    largest = minus_infinity(), sum = 0;
    for (int col = threadIdx.x * 8; col < vocab; col += blockDim.x * 8) {
        Eight v;
        load8(v, z + col, vocab - col, wide);
        int count = min(8, vocab - col);
        float most = largest;
        UNROLL for (int i = 0; i < 8; i++)
            if (i < count) most = fmaxf(most, v[i]);
        if (most == minus_infinity()) continue;
        sum *= exp_fast(largest - most);
        UNROLL for (int i = 0; i < 8; i++)
            if (i < count) sum += exp_fast(v[i] - most);
        largest = most;
    }
    float most = block_max(largest, scratch);
    sum = block_sum(largest == minus_infinity() ? 0.0f : sum * exp_fast(largest - most), scratch);
    largest = most;
}

KERNEL(head_log_probs, float *log_probs, const float *logits, const u32 *targets, int vocab) {
    __shared__ float scratch[32];
    const float *z = logits + (i64)blockIdx.x * vocab;
    float largest, sum;
    row_sum(largest, sum, z, vocab, vocab % 8 == 0 && aligned(logits), scratch);
    if (threadIdx.x == 0) log_probs[blockIdx.x] = z[targets[blockIdx.x]] - (largest + logf(sum));
}

template <typename T>
DEVICE void head_backward(T *d_logits, float *log_probs, const float *logits, const u32 *targets,
                          const float *d_log_probs, float inverse_temperature, int vocab) {
    __shared__ float scratch[32];
    i64 row = blockIdx.x;
    const float *z = logits + row * vocab;
    T *dz = d_logits + row * vocab;
    bool wide = vocab % 8 == 0 && aligned(logits) && aligned(d_logits);
    float largest, sum;
    row_sum(largest, sum, z, vocab, wide, scratch);
    int target = targets[row];
    if (threadIdx.x == 0) log_probs[row] = z[target] - (largest + logf(sum));
    float g = d_log_probs[row] * inverse_temperature, share = -g / sum;
    for (int col = threadIdx.x * 8; col < vocab; col += blockDim.x * 8) {
        Eight v;
        load8(v, z + col, vocab - col, wide);
        UNROLL for (int i = 0; i < 8; i++) {
            v[i] = share * exp_fast(v[i] - largest);
            if (col + i == target) v[i] += g;
        }
        store8(dz + col, v, vocab - col, wide);
    }
}
KERNEL(head_backward_f32, float *d_logits, float *log_probs, const float *logits, const u32 *targets, const float *d_log_probs, float inverse_temperature, int vocab) {
    head_backward(d_logits, log_probs, logits, targets, d_log_probs, inverse_temperature, vocab);
}
KERNEL(head_backward_bf16, bf16 *d_logits, float *log_probs, const float *logits, const u32 *targets, const float *d_log_probs, float inverse_temperature, int vocab) {
    head_backward(d_logits, log_probs, logits, targets, d_log_probs, inverse_temperature, vocab);
}

KERNEL(gather_rows_f32, float *out, const float *x, const u32 *rows, int count, int width) { gather_rows(out, x, rows, count, width); }
KERNEL(gather_rows_bf16, bf16 *out, const bf16 *x, const u32 *rows, int count, int width) { gather_rows(out, x, rows, count, width); }

// out[rows[i]] += x[i]; no row twice. One warp per row.
KERNEL(scatter_add_rows, float *out, const float *x, const u32 *rows, int count, int width) {
    int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= count) return;
    const float *from = x + (i64)row * width;
    float *to = out + (i64)rows[row] * width;
    bool wide = width % 8 == 0 && aligned(out) && aligned(x);
    for (int col = lane * 8; col < width; col += 256) {
        Eight v, sum;
        load8(v, from + col, width - col, wide);
        load8(sum, to + col, width - col, wide);
        UNROLL for (int i = 0; i < 8; i++) sum[i] += v[i];
        store8(to + col, sum, width - col, wide);
    }
}
