// AdamW and the norm of all gradients, over many tensors in one launch. A block has one chunk of CHUNK values
// of one tensor: chunks[2b] is the tensor, chunks[2b + 1] which of its chunks.
//
// g <- s g; m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2; p <- p keep - lr / c1 m / (sqrt(v / c2) + eps), and p
// again as bf16 where products read it. Norm: squares in float, 8 at a time, then double in a fixed tree.

#define CHUNK 16384

// Words of a tensor in AdamW's table.
struct OptimizerTensor {
    float *values, *first, *second;
    const float *gradient;
    bf16 *copy; // or null
    u64 length;
    u64 decays;
};

KERNEL(adamw, const OptimizerTensor *tensors, const u32 *chunks, const float *gradient_scale, float beta1,
       float rest1, float beta2, float rest2, float eps, float keep_decaying, float step_size, float root_scale) {
    const OptimizerTensor tensor = tensors[chunks[2 * blockIdx.x]];
    i64 start = (i64)chunks[2 * blockIdx.x + 1] * CHUNK, end = min(start + CHUNK, (i64)tensor.length);
    bool wide = aligned(tensor.values) && aligned(tensor.first) && aligned(tensor.second) &&
                aligned(tensor.gradient) && aligned(tensor.copy);
    float scale = gradient_scale ? *gradient_scale : 1.0f, keep = tensor.decays ? keep_decaying : 1.0f;
    for (i64 at = start + threadIdx.x * 8; at < end; at += blockDim.x * 8) {
        Eight p, m, v, g;
        i64 count = end - at;
        load8(p, tensor.values + at, count, wide);
        load8(m, tensor.first + at, count, wide);
        load8(v, tensor.second + at, count, wide);
        load8(g, tensor.gradient + at, count, wide);
        UNROLL for (int i = 0; i < 8; i++) {
            float d = g[i] * scale;
            m[i] = fmaf(beta1, m[i], rest1 * d);
            v[i] = fmaf(beta2, v[i], rest2 * d * d);
            float denominator = fmaf(sqrtf(v[i]), root_scale, eps);
            p[i] = fmaf(p[i], keep, -(step_size * (m[i] / denominator)));
        }
        store8(tensor.values + at, p, count, wide);
        store8(tensor.first + at, m, count, wide);
        store8(tensor.second + at, v, count, wide);
        if (tensor.copy) store8(tensor.copy + at, p, count, wide);
    }
}

// Words of a tensor in the norm's table: address and length.
KERNEL(gradient_squares, double *partial, const u64 *tensors, const u32 *chunks) {
    __shared__ double scratch[32];
    u64 tensor = chunks[2 * blockIdx.x];
    const float *gradient = reinterpret_cast<const float *>(tensors[2 * tensor]);
    i64 start = (i64)chunks[2 * blockIdx.x + 1] * CHUNK, end = min(start + CHUNK, (i64)tensors[2 * tensor + 1]);
    bool wide = aligned(gradient);
    double sum = 0;
    for (i64 at = start + threadIdx.x * 8; at < end; at += blockDim.x * 8) {
        Eight g;
        load8(g, gradient + at, end - at, wide);
        float squares = 0;
        UNROLL for (int i = 0; i < 8; i++) squares = fmaf(g[i], g[i], squares);
        sum += squares;
    }
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// out[0]: the norm; out[1]: what brings it to max_norm at most, min(1, max_norm / (norm + 1e-6)). One block.
KERNEL(gradient_norm, float *out, const double *partial, int parts, float max_norm) {
    __shared__ double scratch[32];
    double sum = 0;
    for (int part = threadIdx.x; part < parts; part += blockDim.x) sum += partial[part];
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) {
        double norm = sqrt(sum), scale = (double)max_norm / (norm + 1e-6);
        out[0] = (float)norm;
        out[1] = scale < 1.0 ? (float)scale : 1.0f;
    }
}
