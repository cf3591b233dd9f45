//! A text as the rows of the table of edit distances: for each symbol, the rows it stands in.
//!
//! Filled by `search.rs` for each query and by `pair.rs` for each pair; read by `kernel.rs`.
//!
//! Promises: a row of `stride` words for every code, zero where the symbol does not occur.
//! Memory is kept from one pattern to the next.

/// Rows of one block.
pub(crate) const WORD: usize = u64::BITS as usize;
/// Most words of a table: 128 MB.
pub(crate) const MOST_WORDS: usize = 1 << 24;

/// Words after the last row, which may be read but mean nothing.
const BEYOND: usize = 4;

/// In which rows the symbols stand.
#[derive(Default)]
pub(crate) struct Pattern {
    rows: usize,
    stride: usize,
    codes: usize,
    words: Vec<u64>,
    /// Codes that occur.
    used: Vec<u16>,
    is_used: Vec<bool>,
}

impl Pattern {
    /// Whether a table of so many codes and rows is small enough to be made.
    pub(crate) fn fits(codes: usize, rows: usize) -> bool {
        codes.saturating_mul(Self::stride_of(rows)) <= MOST_WORDS
    }

    fn stride_of(rows: usize) -> usize {
        // Odd, so that the rows of different symbols do not share the same few sets of the cache.
        rows.div_ceil(WORD) | 1
    }

    /// Replaces the pattern. `symbols` are codes below `codes`; 0 stands for one that equals none.
    pub(crate) fn set(&mut self, codes: usize, symbols: impl Iterator<Item = u16>, rows: usize) {
        for &code in &self.used {
            let start = code as usize * self.stride;
            self.words[start..start + self.stride].fill(0);
            self.is_used[code as usize] = false;
        }
        self.used.clear();
        self.is_used.resize(codes, false);
        self.rows = rows;
        self.stride = Self::stride_of(rows);
        self.codes = codes;
        self.words.resize(codes * self.stride + BEYOND, 0);
        for (row, code) in symbols.enumerate() {
            if code == 0 {
                continue;
            }
            debug_assert!((code as usize) < codes && row < rows);
            if !std::mem::replace(&mut self.is_used[code as usize], true) {
                self.used.push(code);
            }
            self.words[code as usize * self.stride + row / WORD] |= 1 << (row % WORD);
        }
    }

    /// Number of symbols.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Number of blocks of 64 rows.
    pub(crate) fn blocks(&self) -> usize {
        self.rows.div_ceil(WORD)
    }

    /// Words from one code's row to the next.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// Number of codes that texts may hold.
    pub(crate) fn codes(&self) -> usize {
        self.codes
    }

    /// `codes` times `stride` words, and four more.
    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }
}
