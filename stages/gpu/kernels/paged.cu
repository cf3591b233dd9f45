// Attention of single tokens over keys and values in pages: decoding.
//
// A layer's pool: pages of PAGE positions; in each, per key-value head, first the keys, [D / 8][PAGE][8], so that the
// lanes of a warp read the keys of a page side by side, then the values, [PAGE][D]. Row r of `qkv` is one token of
// sequence slots[r] at positions[r]; tables[slot * table_pages + p] is the page of positions p PAGE .. . D is a
// multiple of 8, 256 at most.
//
// A block has SPLIT positions of one row and one key-value head: each warp takes pages in turn, a lane per key for
// the scores, a lane per pair of values for the sums. Parts are combined in order of position. Where positions are
// cut depends on the position alone, so a row's bits do not depend on the rows beside it.

#define PAGE 32
#define SPLIT 256

DEVICE i64 key_place(int slot, int d) { return ((i64)(d / 8) * PAGE + slot) * 8 + d % 8; }

template <typename T>
DEVICE void append(T *pool, const T *qkv, const u32 *slots, const u32 *positions, const u32 *tables, int table_pages,
                   int rows, int heads, int kv_heads, int dim) {
    i64 index = blockIdx.x * (i64)blockDim.x + threadIdx.x;
    int width = kv_heads * dim;
    if (index >= (i64)rows * width) return;
    i64 row = index / width;
    int head = index % width / dim, d = index % dim;
    u32 position = positions[row], page = tables[slots[row] * (u64)table_pages + position / PAGE];
    T *place = pool + ((i64)page * kv_heads + head) * 2 * PAGE * dim;
    const T *from = qkv + row * (heads + 2 * kv_heads) * dim + (i64)(heads + head) * dim + d;
    place[key_place(position % PAGE, d)] = from[0];
    place[(i64)PAGE * dim + (i64)(position % PAGE) * dim + d] = from[width];
}
KERNEL(paged_append_f32, float *pool, const float *qkv, const u32 *slots, const u32 *positions, const u32 *tables, int table_pages, int rows, int heads, int kv_heads, int dim) {
    append(pool, qkv, slots, positions, tables, table_pages, rows, heads, kv_heads, dim);
}
KERNEL(paged_append_bf16, bf16 *pool, const bf16 *qkv, const u32 *slots, const u32 *positions, const u32 *tables, int table_pages, int rows, int heads, int kv_heads, int dim) {
    append(pool, qkv, slots, positions, tables, table_pages, rows, heads, kv_heads, dim);
}

// Parts [rows, heads, splits, D + 2]: the sum of values, the largest score, the sum of weights.
template <typename T>
DEVICE void paged_attend(float *parts, const T *qkv, const T *pool, const u32 *slots, const u32 *positions,
                         const u32 *tables, int table_pages, int heads, int kv_heads, int dim, float scaling) {
    __shared__ float query[256], sums[4][256], largest_of[4], sum_of[4];
    int row = blockIdx.x, kv_head = blockIdx.y, split = blockIdx.z, splits = gridDim.z, group = heads / kv_heads;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, length = positions[row] + 1, first = split * SPLIT;
    if (first >= length) return;
    const u32 *table = tables + slots[row] * (u64)table_pages;
    for (int head = kv_head * group; head < (kv_head + 1) * group; head++) {
        __syncthreads();
        for (int d = threadIdx.x; d < dim; d += 128)
            query[d] = widen(qkv[((i64)row * (heads + 2 * kv_heads) + head) * dim + d]) * scaling;
        __syncthreads();
        float o[8], largest = minus_infinity(), sum = 0;
        UNROLL for (int i = 0; i < 8; i++) o[i] = 0;
        for (int from = first + warp * PAGE; from < min(length, first + SPLIT); from += 4 * PAGE) {
            const T *keys = pool + ((i64)table[from / PAGE] * kv_heads + kv_head) * 2 * PAGE * dim;
            const T *values = keys + (i64)PAGE * dim;
            float s = 0;
            for (int d = 0; d < dim; d += 8) {
                Eight k;
                load8(k, keys + key_place(lane, d), 8, true);
                UNROLL for (int i = 0; i < 8; i++) s = fmaf(query[d + i], k[i], s);
            }
            if (from + lane >= length) s = minus_infinity();
            float most = fmaxf(largest, warp_max(s)), shrink = exp_fast(largest - most), p = exp_fast(s - most);
            largest = most, sum = sum * shrink + warp_sum(p);
            UNROLL for (int i = 0; i < 8; i++) o[i] *= shrink;
            for (int j = 0; j < min(PAGE, length - from); j++) {
                float weight = __shfl_sync(FULL, p, j);
                UNROLL for (int i = 0; i < 4; i++) {
                    int d = 2 * lane + i * 64;
                    if (d >= dim) continue;
                    float2 value = load2(values + j * dim + d);
                    o[2 * i] = fmaf(weight, value.x, o[2 * i]);
                    o[2 * i + 1] = fmaf(weight, value.y, o[2 * i + 1]);
                }
            }
        }
        UNROLL for (int i = 0; i < 8; i++) {
            int d = 2 * lane + i % 2 + i / 2 * 64;
            if (d < dim) sums[warp][d] = o[i];
        }
        if (lane == 0) largest_of[warp] = largest, sum_of[warp] = sum;
        __syncthreads();
        // The first warp always has a key.
        float most = fmaxf(fmaxf(largest_of[0], largest_of[1]), fmaxf(largest_of[2], largest_of[3]));
        float *part = parts + (((i64)row * heads + head) * splits + split) * (dim + 2);
        for (int d = threadIdx.x; d < dim; d += 128) {
            float total = 0;
            UNROLL for (int w = 0; w < 4; w++) total = fmaf(exp_fast(largest_of[w] - most), sums[w][d], total);
            part[d] = total;
        }
        if (threadIdx.x == 0) {
            float total = 0;
            UNROLL for (int w = 0; w < 4; w++) total = fmaf(exp_fast(largest_of[w] - most), sum_of[w], total);
            part[dim] = most, part[dim + 1] = total;
        }
    }
}
KERNEL_FOR(128, 4, paged_attend_f32, float *parts, const float *qkv, const float *pool, const u32 *slots, const u32 *positions, const u32 *tables, int table_pages, int heads, int kv_heads, int dim, float scaling) {
    paged_attend(parts, qkv, pool, slots, positions, tables, table_pages, heads, kv_heads, dim, scaling);
}
KERNEL_FOR(128, 4, paged_attend_bf16, float *parts, const bf16 *qkv, const bf16 *pool, const u32 *slots, const u32 *positions, const u32 *tables, int table_pages, int heads, int kv_heads, int dim, float scaling) {
    paged_attend(parts, qkv, pool, slots, positions, tables, table_pages, heads, kv_heads, dim, scaling);
}

// One warp per row and head.
template <typename T>
DEVICE void paged_combine(T *out, const float *parts, const u32 *positions, int rows, int heads, int dim, int splits) {
    i64 index = blockIdx.x * (i64)(blockDim.x / 32) + threadIdx.x / 32;
    if (index >= (i64)rows * heads) return;
    int used = ceiling(positions[index / heads] + 1, SPLIT);
    parts += index * splits * (dim + 2);
    float most = minus_infinity(), sum = 0;
    for (int split = 0; split < used; split++) most = fmaxf(most, parts[split * (dim + 2) + dim]);
    for (int split = 0; split < used; split++) {
        const float *part = parts + split * (dim + 2);
        sum = fmaf(exp_fast(part[dim] - most), part[dim + 1], sum);
    }
    for (int d = threadIdx.x % 32; d < dim; d += 32) {
        float total = 0;
        for (int split = 0; split < used; split++) {
            const float *part = parts + split * (dim + 2);
            total = fmaf(exp_fast(part[dim] - most), part[d], total);
        }
        out[index * dim + d] = narrow<T>(total / sum);
    }
}
KERNEL(paged_combine_f32, float *out, const float *parts, const u32 *positions, int rows, int heads, int dim, int splits) { paged_combine(out, parts, positions, rows, heads, dim, splits); }
KERNEL(paged_combine_bf16, bf16 *out, const float *parts, const u32 *positions, int rows, int heads, int dim, int splits) { paged_combine(out, parts, positions, rows, heads, dim, splits); }
