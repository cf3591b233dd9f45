// Causal attention over packed sequences, in plain arithmetic, for any head width up to 256.
//
// Rows of `qkv` have the queries of all heads, then keys, then values of the key-value heads; out and d_out the
// heads side by side. S = Q K^T scaling, P = softmax(S) over keys j <= i, O = P V; kept: the log-sum-exp L of each
// row of S, [heads, tokens]. Backward, with delta_i = dO_i . O_i: P = e^{S - L}, dV = P^T dO, dP = dO V^T,
// dS = P (dP - delta), dQ = dS K scaling, dK = dS^T Q scaling. A tile is 64 queries (or keys) of one sequence:
// tiles[3b]: its start, its end, and the tile's first token. Four threads share a query (or key): thread j has its
// values j, j + 4, ...; the other side passes through shared memory, 32 rows at a time.

#define SHARE 32

// Rows first .. first + SHARE of one head into shared memory as floats, zeros from `end` on.
template <typename T> DEVICE void share_rows(float *to, const T *from, i64 stride, int first, int end, int dim) {
    for (int i = threadIdx.x; i < SHARE * dim; i += blockDim.x) {
        int row = first + i / dim;
        to[i] = row < end ? widen(from[row * stride + i % dim]) : 0.0f;
    }
}

DEVICE float quad_sum(float x) {
    x += __shfl_xor_sync(FULL, x, 1);
    return x + __shfl_xor_sync(FULL, x, 2);
}

#define PARTS_OF(member, dim) UNROLL for (int i = 0, d = member; i < PART; i++, d += 4) if (d < dim)

template <typename T, int PART>
DEVICE void attention_forward(T *out, float *log_sums, const T *qkv, const u32 *tiles, int tokens, int heads,
                              int kv_heads, int dim, float scaling) {
    DYNAMIC_SHARED(float, shared);
    float *keys = shared, *values = shared + SHARE * dim;
    int start = tiles[3 * blockIdx.x], end = tiles[3 * blockIdx.x + 1], first = tiles[3 * blockIdx.x + 2];
    int head = blockIdx.y, kv_head = head / (heads / kv_heads), member = threadIdx.x % 4, query = first + threadIdx.x / 4;
    i64 stride = (i64)(heads + 2 * kv_heads) * dim;
    const T *k = qkv + (i64)(heads + kv_head) * dim, *v = k + (i64)kv_heads * dim;
    float q[PART], o[PART], largest = minus_infinity(), sum = 0;
    UNROLL for (int i = 0; i < PART; i++) q[i] = o[i] = 0;
    if (query < end) PARTS_OF(member, dim) q[i] = widen(qkv[query * stride + head * dim + d]) * scaling;
    for (int from = start; from < min(end, first + 64); from += SHARE) {
        __syncthreads();
        share_rows(keys, k, stride, from, end, dim);
        share_rows(values, v, stride, from, end, dim);
        __syncthreads();
        for (int j = 0; j < SHARE; j++) {
            float s = 0;
            PARTS_OF(member, dim) s = fmaf(q[i], keys[j * dim + d], s);
            s = quad_sum(s);
            if (from + j > query || query >= end) continue;
            float most = fmaxf(largest, s), shrink = exp_fast(largest - most), p = exp_fast(s - most);
            largest = most, sum = sum * shrink + p;
            PARTS_OF(member, dim) o[i] = fmaf(p, values[j * dim + d], o[i] * shrink);
        }
    }
    if (query >= end) return;
    PARTS_OF(member, dim) out[((i64)query * heads + head) * dim + d] = narrow<T>(o[i] / sum);
    if (member == 0) log_sums[(i64)head * tokens + query] = largest + logf(sum);
}

template <typename T, int PART>
DEVICE void attention_backward_queries(T *d_qkv, const T *d_out, const T *qkv, const float *log_sums,
                                       const float *delta, const u32 *tiles, int tokens, int heads, int kv_heads,
                                       int dim, float scaling) {
    DYNAMIC_SHARED(float, shared);
    float *keys = shared, *values = shared + SHARE * dim;
    int start = tiles[3 * blockIdx.x], end = tiles[3 * blockIdx.x + 1], first = tiles[3 * blockIdx.x + 2];
    int head = blockIdx.y, kv_head = head / (heads / kv_heads), member = threadIdx.x % 4, query = first + threadIdx.x / 4;
    i64 stride = (i64)(heads + 2 * kv_heads) * dim;
    const T *k = qkv + (i64)(heads + kv_head) * dim, *v = k + (i64)kv_heads * dim;
    float q[PART], g[PART], dq[PART], log_sum = 0, along = 0;
    UNROLL for (int i = 0; i < PART; i++) q[i] = g[i] = dq[i] = 0;
    if (query < end) {
        PARTS_OF(member, dim) {
            q[i] = widen(qkv[query * stride + head * dim + d]) * scaling;
            g[i] = widen(d_out[((i64)query * heads + head) * dim + d]);
        }
        log_sum = log_sums[(i64)head * tokens + query];
        along = delta[(i64)head * tokens + query];
    }
    for (int from = start; from < min(end, first + 64); from += SHARE) {
        __syncthreads();
        share_rows(keys, k, stride, from, end, dim);
        share_rows(values, v, stride, from, end, dim);
        __syncthreads();
        for (int j = 0; j < SHARE; j++) {
            float s = 0, dp = 0;
            PARTS_OF(member, dim) {
                s = fmaf(q[i], keys[j * dim + d], s);
                dp = fmaf(g[i], values[j * dim + d], dp);
            }
            s = quad_sum(s), dp = quad_sum(dp);
            if (from + j > query || query >= end) continue;
            float ds = exp_fast(s - log_sum) * (dp - along);
            PARTS_OF(member, dim) dq[i] = fmaf(ds, keys[j * dim + d], dq[i]);
        }
    }
    if (query >= end) return;
    PARTS_OF(member, dim) d_qkv[query * stride + head * dim + d] = narrow<T>(dq[i] * scaling);
}

template <typename T, int PART>
DEVICE void attention_backward_keys(T *d_qkv, const T *d_out, const T *qkv, const float *log_sums, const float *delta,
                                    const u32 *tiles, int tokens, int heads, int kv_heads, int dim, float scaling) {
    DYNAMIC_SHARED(float, shared);
    float *queries = shared, *gradients = shared + SHARE * dim;
    int end = tiles[3 * blockIdx.x + 1], first = tiles[3 * blockIdx.x + 2], group = heads / kv_heads;
    int kv_head = blockIdx.y, member = threadIdx.x % 4, key = first + threadIdx.x / 4;
    i64 stride = (i64)(heads + 2 * kv_heads) * dim, at = key * stride + (i64)(heads + kv_head) * dim;
    i64 to_values = (i64)kv_heads * dim;
    float k[PART], v[PART], dk[PART], dv[PART];
    UNROLL for (int i = 0; i < PART; i++) k[i] = v[i] = dk[i] = dv[i] = 0;
    if (key < end) PARTS_OF(member, dim) {
        k[i] = widen(qkv[at + d]) * scaling;
        v[i] = widen(qkv[at + to_values + d]);
    }
    for (int head = kv_head * group; head < (kv_head + 1) * group; head++)
        for (int from = first; from < end; from += SHARE) {
            __syncthreads();
            share_rows(queries, qkv + (i64)head * dim, stride, from, end, dim);
            share_rows(gradients, d_out + (i64)head * dim, (i64)heads * dim, from, end, dim);
            __syncthreads();
            for (int j = 0; j < SHARE && from + j < end; j++) {
                float s = 0, dp = 0;
                PARTS_OF(member, dim) {
                    s = fmaf(k[i], queries[j * dim + d], s);
                    dp = fmaf(v[i], gradients[j * dim + d], dp);
                }
                s = quad_sum(s), dp = quad_sum(dp);
                if (key > from + j) continue;
                float p = exp_fast(s - log_sums[(i64)head * tokens + from + j]);
                float ds = p * (dp - delta[(i64)head * tokens + from + j]);
                PARTS_OF(member, dim) {
                    dv[i] = fmaf(p, gradients[j * dim + d], dv[i]);
                    dk[i] = fmaf(ds, queries[j * dim + d], dk[i]);
                }
            }
        }
    if (key >= end) return;
    PARTS_OF(member, dim) {
        d_qkv[at + d] = narrow<T>(dk[i] * scaling);
        d_qkv[at + to_values + d] = narrow<T>(dv[i]);
    }
}

#define ATTENTION(T, PART)                                                                                              \
    KERNEL_FOR(256, 1, attention_forward_##PART##_##T, T *out, float *log_sums, const T *qkv, const u32 *tiles,         \
               int tokens, int heads, int kv_heads, int dim, float scaling) {                                           \
        attention_forward<T, PART>(out, log_sums, qkv, tiles, tokens, heads, kv_heads, dim, scaling);                   \
    }                                                                                                                   \
    KERNEL_FOR(256, 1, attention_backward_queries_##PART##_##T, T *d_qkv, const T *d_out, const T *qkv,                 \
               const float *log_sums, const float *delta, const u32 *tiles, int tokens, int heads, int kv_heads,        \
               int dim, float scaling) {                                                                                \
        attention_backward_queries<T, PART>(d_qkv, d_out, qkv, log_sums, delta, tiles, tokens, heads, kv_heads, dim, scaling); \
    }                                                                                                                   \
    KERNEL_FOR(256, 1, attention_backward_keys_##PART##_##T, T *d_qkv, const T *d_out, const T *qkv,                    \
               const float *log_sums, const float *delta, const u32 *tiles, int tokens, int heads, int kv_heads,        \
               int dim, float scaling) {                                                                                \
        attention_backward_keys<T, PART>(d_qkv, d_out, qkv, log_sums, delta, tiles, tokens, heads, kv_heads, dim, scaling); \
    }
ATTENTION(f32, 8)
ATTENTION(f32, 16)
ATTENTION(f32, 32)
ATTENTION(f32, 64)
ATTENTION(bf16, 8)
ATTENTION(bf16, 16)
ATTENTION(bf16, 32)
ATTENTION(bf16, 64)

// delta[h, t] = d_out . out of one head. 16 threads each.
template <typename T>
DEVICE void attention_delta(float *delta, const T *d_out, const T *out, int tokens, int heads, int dim) {
    i64 index = (blockIdx.x * (i64)blockDim.x + threadIdx.x) / 16;
    int member = threadIdx.x % 16;
    bool inside = index < (i64)tokens * heads, wide = dim % 8 == 0 && aligned(d_out) && aligned(out);
    float sum = 0;
    if (inside)
        for (int d = member * 8; d < dim; d += 128) {
            Eight a, b;
            load8(a, d_out + index * dim + d, dim - d, wide);
            load8(b, out + index * dim + d, dim - d, wide);
            UNROLL for (int i = 0; i < 8; i++) sum = fmaf(a[i], b[i], sum);
        }
    UNROLL for (int other = 8; other; other /= 2) sum += __shfl_xor_sync(FULL, sum, other);
    if (inside && member == 0) delta[index % heads * tokens + index / heads] = sum;
}
KERNEL(attention_delta_f32, float *delta, const float *d_out, const float *out, int tokens, int heads, int dim) { attention_delta(delta, d_out, out, tokens, heads, dim); }
KERNEL(attention_delta_bf16, float *delta, const bf16 *d_out, const bf16 *out, int tokens, int heads, int dim) { attention_delta(delta, d_out, out, tokens, heads, dim); }
