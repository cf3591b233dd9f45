// y_t = E[id_t]; backward dE[id] += sum of dy_t over the tokens t of that id, in their order.
//
// Backward without atomics: the host sorts tokens by id and cuts each id's tokens into chunks of a few. One
// block sums a chunk; an id of one chunk is done then, the chunks of others go to `partial`, which a second
// kernel adds up, one block per id.

KERNEL(embedding_forward_f32, float *y, const u32 *ids, const float *table, int tokens, int width) { gather_rows(y, table, ids, tokens, width); }
KERNEL(embedding_forward_bf16, float *y, const u32 *ids, const bf16 *table, int tokens, int width) { gather_rows(y, table, ids, tokens, width); }

// Chunk c: tokens order[chunks[3c] .. chunks[3c + 3]], into row chunks[3c + 1] of the table, or of `partial` if
// chunks[3c + 2].
KERNEL(embedding_backward, float *d_table, float *partial, const float *dy, const u32 *order, const u32 *chunks, int width) {
    const u32 *chunk = chunks + 3 * blockIdx.x;
    u32 first = chunk[0], end = chunk[3], row = chunk[1];
    float *to = (chunk[2] ? partial : d_table) + (i64)row * width;
    bool wide = width % 8 == 0 && aligned(d_table) && aligned(partial) && aligned(dy);
    for (int col = threadIdx.x * 8; col < width; col += blockDim.x * 8) {
        Eight sum = {0, 0, 0, 0, 0, 0, 0, 0};
        if (!chunk[2]) load8(sum, to + col, width - col, wide);
        for (u32 at = first; at < end; at++) {
            Eight v;
            load8(v, dy + (i64)order[at] * width + col, width - col, wide);
            UNROLL for (int i = 0; i < 8; i++) sum[i] += v[i];
        }
        store8(to + col, sum, width - col, wide);
    }
}

// Id i of several chunks: rows parts[2i] .. parts[2i + 2] of `partial` are added to row parts[2i + 1] of the table.
KERNEL(embedding_backward_finish, float *d_table, const float *partial, const u32 *parts, int width) {
    u32 first = parts[2 * blockIdx.x], end = parts[2 * blockIdx.x + 2];
    float *to = d_table + (i64)parts[2 * blockIdx.x + 1] * width;
    bool wide = width % 8 == 0 && aligned(d_table) && aligned(partial);
    for (int col = threadIdx.x * 8; col < width; col += blockDim.x * 8) {
        Eight sum, v;
        load8(sum, to + col, width - col, wide);
        for (u32 part = first; part < end; part++) {
            load8(v, partial + (i64)part * width + col, width - col, wide);
            UNROLL for (int i = 0; i < 8; i++) sum[i] += v[i];
        }
        store8(to + col, sum, width - col, wide);
    }
}
