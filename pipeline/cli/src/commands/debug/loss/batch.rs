//! Token sequences of a padded batch, and which of their tokens are answers.

use anyhow::{Context as _, Result, bail, ensure};
use model::arrays::Arrays;

/// A real token of a row.
#[derive(Clone, Copy)]
pub(super) struct Token {
    pub(super) id: u32,
    pub(super) column: usize,
}

/// The rows of a batch without their padding.
pub(super) struct Rows {
    pub(super) rows: Vec<Vec<Token>>,
    pub(super) columns: usize,
}

/// The name under which an array is there: its own, or with the prefix `padded_`.
pub(super) fn named(arrays: &Arrays, name: &str) -> Option<String> {
    [name.to_owned(), format!("padded_{name}")]
        .into_iter()
        .find(|name| arrays.has(name))
}

fn integers(arrays: &Arrays, name: &str, shape: [usize; 2]) -> Result<Vec<i64>> {
    let name = named(arrays, name).unwrap_or_else(|| name.to_owned());
    let array = arrays.integers(&name)?;
    ensure!(
        array.shape == shape,
        "`{name}` has shape {:?}; {shape:?} is wanted",
        array.shape
    );
    Ok(array.data)
}

impl Rows {
    /// Reads `input_ids` and `attention_mask`.
    pub(super) fn read(arrays: &Arrays) -> Result<Self> {
        let name = named(arrays, "input_ids").unwrap_or_else(|| "input_ids".to_owned());
        let ids = arrays.integers(&name)?;
        let [rows, columns] = ids.shape[..] else {
            bail!(
                "`{name}` has shape {:?}; it has to be [rows, columns]",
                ids.shape
            );
        };
        let mask = match named(arrays, "attention_mask") {
            Some(_) => integers(arrays, "attention_mask", [rows, columns])?,
            None => vec![1; rows * columns],
        };
        let row = |row: usize| {
            let real = (0..columns).filter(|column| mask[row * columns + column] != 0);
            let tokens = real.map(|column| {
                let id = ids.data[row * columns + column];
                let id = u32::try_from(id)
                    .with_context(|| format!("row {row}, column {column}: {id} is no token id"))?;
                Ok(Token { id, column })
            });
            let tokens = tokens.collect::<Result<Vec<Token>>>()?;
            ensure!(!tokens.is_empty(), "every token of row {row} is masked");
            Ok(tokens)
        };
        let rows = (0..rows).map(row).collect::<Result<_>>()?;
        Ok(Self { rows, columns })
    }

    /// An array of flags or labels beside the ids.
    pub(super) fn beside(&self, arrays: &Arrays, name: &str) -> Result<Vec<i64>> {
        integers(arrays, name, [self.rows.len(), self.columns])
    }

    /// An array of numbers, one for every token but the first, spread over the columns of the
    /// predicted tokens: that of column `c` stands at `c − 1`.
    pub(super) fn shifted(&self, arrays: &Arrays, name: &str) -> Result<Vec<f32>> {
        let array = arrays.floats(name)?;
        let wanted = [self.rows.len(), self.columns - 1];
        ensure!(
            array.shape == wanted,
            "`{name}` has shape {:?}; {wanted:?} is wanted, one number for each predicted token",
            array.shape
        );
        Ok(array.data)
    }

    /// Cuts a row where its answer begins; `is_answer` says it of columns.
    pub(super) fn cut(
        &self,
        row: usize,
        is_answer: impl Fn(usize) -> bool,
    ) -> Result<(Vec<u32>, Vec<u32>)> {
        let tokens = &self.rows[row];
        let first = tokens
            .iter()
            .position(|token| is_answer(token.column))
            .with_context(|| format!("row {row} has no answer"))?;
        ensure!(
            tokens[first..].iter().all(|token| is_answer(token.column)),
            "row {row}: the answer has to be one piece at the end of the row"
        );
        let ids = |tokens: &[Token]| tokens.iter().map(|token| token.id).collect();
        Ok((ids(&tokens[..first]), ids(&tokens[first..])))
    }
}
