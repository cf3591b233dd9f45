//! A padded batch as transformers has it: `[rows, columns]` ids and a mask of the real ones.

use anyhow::{Context as _, Result, ensure};
use model::{
    arrays::Arrays,
    batch::{Batch, IGNORE},
};

/// Ids and what of them is real.
pub(super) struct Padded {
    pub(super) rows: usize,
    pub(super) columns: usize,
    ids: Vec<i64>,
    mask: Option<Vec<i64>>,
}

impl Padded {
    /// Reads `ids` and, if it is there, `attention_mask`.
    pub(super) fn read(arrays: &Arrays, ids: &str) -> Result<Self> {
        let all = arrays.integers(ids)?;
        let [rows, columns] = all.shape[..] else {
            anyhow::bail!(
                "`{ids}` has shape {:?}; it has to be [rows, columns]",
                all.shape
            );
        };
        ensure!(
            rows * columns > 0,
            "`{ids}` of shape {:?} holds no tokens",
            all.shape
        );
        let mask = arrays
            .has("attention_mask")
            .then(|| arrays.integers("attention_mask"))
            .transpose()?;
        if let Some(mask) = &mask {
            ensure!(
                mask.shape == all.shape,
                "`attention_mask` has shape {:?}, `{ids}` {:?}",
                mask.shape,
                all.shape
            );
        }
        Ok(Self {
            rows,
            columns,
            ids: all.data,
            mask: mask.map(|mask| mask.data),
        })
    }

    /// The real columns of a row.
    pub(super) fn real(&self, row: usize) -> Vec<usize> {
        let masked = |column: usize| {
            self.mask
                .as_ref()
                .is_some_and(|mask| mask[row * self.columns + column] == 0)
        };
        (0..self.columns)
            .filter(|&column| !masked(column))
            .collect()
    }

    /// One row's real tokens as a batch without targets; `None` if there are none. Positions
    /// count columns, from the first real one.
    pub(super) fn batch(&self, row: usize) -> Result<Option<Batch>> {
        let columns = self.real(row);
        let Some(&first) = columns.first() else {
            return Ok(None);
        };
        let ids = columns
            .iter()
            .map(|column| {
                let id = self.ids[row * self.columns + column];
                u32::try_from(id)
                    .with_context(|| format!("row {row}, column {column}: {id} is no token id"))
            })
            .collect::<Result<Vec<u32>>>()?;
        let mut batch = Batch::new();
        batch.push(&ids, &vec![IGNORE; ids.len()])?;
        for (position, column) in batch.positions.iter_mut().zip(&columns) {
            *position = (column - first) as u32;
        }
        Ok(Some(batch))
    }
}
