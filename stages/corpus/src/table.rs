//! The one Parquet writer and reader of the pipeline.
//!
//! Every stage writes its tables through `TableWriter` and reads them through `Table`; the row
//! structs are in `schema.rs`. Memory is bounded by one batch of rows (`BATCH_BYTES`), on both
//! sides, whatever the size of the table.
//!
//! Promises: the same rows give the same bytes on every machine and in every run (fixed
//! compression, page and row-group limits, `created_by`, no times). A file that does not fit is
//! one clear error: which file, which column, which row, what was wanted. Extra columns are
//! ignored; types of the same family (`Utf8` for `LargeUtf8`, `Int32` for `Int64`) are accepted,
//! so that tables written by pyarrow or polars can be used as inputs.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use arrow::array::Array;
pub use arrow::array::RecordBatch;
use arrow::compute::{CastOptions, cast_with_options};
pub use arrow::datatypes::SchemaRef;
use arrow::datatypes::{DataType, Field, Schema};
use fs_err::File;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterVersion};

/// Rows are turned into a batch once they take about this much memory.
pub(crate) const BATCH_BYTES: usize = 8 << 20;
/// ... or once there are this many.
const BATCH_ROWS: usize = 4096;
/// A row group ends after about this much unencoded data.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// A struct that is one row of a table; implemented by `table!`.
pub trait Row: Sized + Send + 'static {
    /// Name of the table, for messages.
    const TABLE: &'static str;
    /// Columns in order.
    fn schema() -> SchemaRef;
    /// Memory the row takes, roughly, in bytes.
    fn bytes(&self) -> usize;
    /// Turns rows into a batch with exactly `schema()`.
    fn to_batch(rows: &[Self]) -> RecordBatch;
    /// Reads one row of a batch that has exactly `schema()`.
    fn from_batch(batch: &RecordBatch, row: usize) -> Self;
}

/// Declares a row struct, its schema and both conversions from one list of fields.
///
/// ```
/// corpus::table! {
///     /// Only what this stage needs of `problems`.
///     pub struct Head in "problems" {
///         /// Problem.
///         pub problem_id: String,
///         /// Its rating.
///         pub rating: Option<i32>,
///     }
/// }
/// ```
#[macro_export]
macro_rules! table {
    ($(#[$about:meta])* $visible:vis struct $row:ident in $table:literal {
        $($(#[$field_about:meta])* $field_visible:vis $field:ident: $kind:ty,)+
    }) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq)]
        $visible struct $row { $($(#[$field_about])* $field_visible $field: $kind,)+ }

        impl $crate::table::Row for $row {
            const TABLE: &'static str = $table;
            fn schema() -> $crate::table::SchemaRef {
                $crate::table::schema_of(vec![
                    $($crate::table::field_of::<$kind>(stringify!($field)),)+
                ])
            }
            fn bytes(&self) -> usize {
                0 $(+ $crate::column::Column::bytes(&self.$field))+
            }
            fn to_batch(rows: &[Self]) -> $crate::table::RecordBatch {
                let columns = vec![
                    $(<$kind as $crate::column::Column>::build(rows.iter().map(|row| &row.$field)),)+
                ];
                $crate::table::RecordBatch::try_new(<Self as $crate::table::Row>::schema(), columns)
                    .expect("columns are built from the schema's own types")
            }
            fn from_batch(batch: &$crate::table::RecordBatch, row: usize) -> Self {
                let mut columns = batch.columns().iter();
                $(let $field = <$kind as $crate::column::Column>::get(
                    columns.next().expect("the reader checked the columns"), row);)+
                Self { $($field,)+ }
            }
        }
    };
}

#[doc(hidden)]
pub fn schema_of(fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}

#[doc(hidden)]
pub fn field_of<C: crate::column::Column>(name: &str) -> Field {
    Field::new(name.trim_start_matches("r#"), C::data_type(), C::NULLABLE)
}

/// Writes batches of any schema; `TableWriter` is the typed form.
pub struct BatchWriter {
    path: PathBuf,
    writer: ArrowWriter<File>,
    group_bytes: usize,
}

impl BatchWriter {
    /// Creates the file, replacing what is there.
    pub fn create(path: &Path, schema: SchemaRef) -> Result<Self> {
        let properties = WriterProperties::builder()
            // The default names the crate's version: every upgrade would change every digest.
            .set_created_by("iota".to_owned())
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .set_max_row_group_row_count(Some(1 << 20))
            .build();
        let options = ArrowWriterOptions::new().with_properties(properties);
        let writer = ArrowWriter::try_new_with_options(File::create(path)?, schema, options)
            .with_context(|| format!("cannot write the table {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            writer,
            group_bytes: 0,
        })
    }

    /// Appends a batch; `bytes` is its rough size and decides where row groups end.
    pub fn write(&mut self, batch: &RecordBatch, bytes: usize) -> Result<()> {
        let failed = || format!("cannot write to the table {}", self.path.display());
        self.writer.write(batch).with_context(failed)?;
        self.group_bytes += bytes;
        if self.group_bytes >= ROW_GROUP_BYTES {
            self.writer.flush().with_context(failed)?;
            self.group_bytes = 0;
        }
        Ok(())
    }

    /// Writes the footer; without it the file is not a table.
    pub fn finish(self) -> Result<()> {
        self.writer
            .close()
            .with_context(|| format!("cannot finish the table {}", self.path.display()))?;
        Ok(())
    }
}

/// Writes rows one by one, in the order they come.
pub struct TableWriter<R: Row> {
    writer: BatchWriter,
    rows: Vec<R>,
    row_bytes: usize,
    written: u64,
}

impl<R: Row> TableWriter<R> {
    /// Creates the file, replacing what is there.
    pub fn create(path: &Path) -> Result<Self> {
        let writer = BatchWriter::create(path, R::schema())?;
        Ok(Self {
            writer,
            rows: Vec::new(),
            row_bytes: 0,
            written: 0,
        })
    }

    /// Appends a row.
    pub fn push(&mut self, row: R) -> Result<()> {
        self.row_bytes += row.bytes();
        self.rows.push(row);
        self.written += 1;
        if self.row_bytes >= BATCH_BYTES || self.rows.len() >= BATCH_ROWS {
            self.write_rows()?;
        }
        Ok(())
    }

    /// Writes what is left and the footer; returns the number of rows.
    pub fn finish(mut self) -> Result<u64> {
        self.write_rows()?;
        self.writer.finish()?;
        Ok(self.written)
    }

    fn write_rows(&mut self) -> Result<()> {
        if !self.rows.is_empty() {
            self.writer
                .write(&R::to_batch(&self.rows), self.row_bytes)?;
            self.rows.clear();
            self.row_bytes = 0;
        }
        Ok(())
    }
}

/// Writes all rows at once.
pub fn write<R: Row>(path: &Path, rows: impl IntoIterator<Item = R>) -> Result<u64> {
    let mut writer = TableWriter::create(path)?;
    for row in rows {
        writer.push(row)?;
    }
    writer.finish()
}

/// Reads all rows at once: for tables known to be small.
pub fn read<R: Row>(path: &Path, label: &str) -> Result<Vec<R>> {
    Table::open(path, label)?.rows()?.collect()
}

/// Opens a Parquet file or says why it is none; `label` names it in messages.
pub(crate) fn open_parquet(path: &Path, label: &str) -> Result<ArrowReaderMetadata> {
    let file = File::open(path).with_context(|| format!("cannot open {label}"))?;
    // The embedded Arrow schema is a hint of the writer (dictionaries, views); the Parquet types
    // themselves are enough and the same for every writer.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    ArrowReaderMetadata::load(file.file(), options).map_err(|error| {
        anyhow!(
            "{label} ({}) is not a complete Parquet file: {error}\n\
             It may be cut off or of another format: compare its size with the original and \
             fetch or make it again.",
            path.display()
        )
    })
}

/// Rows per batch so that a batch stays near so many bytes in memory.
pub(crate) fn batch_rows(metadata: &ArrowReaderMetadata, batch_bytes: usize) -> usize {
    let groups = metadata.metadata().row_groups();
    // The largest average over the row groups: long rows may be gathered in one of them.
    let row_bytes = groups
        .iter()
        .map(|group| group.total_byte_size().max(1) as usize / group.num_rows().max(1) as usize)
        .max()
        .unwrap_or(1);
    (batch_bytes / row_bytes.max(1)).clamp(1, BATCH_ROWS)
}

/// A table on disk whose columns have been checked against `R`.
pub struct Table<R: Row> {
    path: PathBuf,
    label: String,
    metadata: ArrowReaderMetadata,
    row: PhantomData<fn() -> R>,
}

impl<R: Row> Table<R> {
    /// Opens the file and checks its columns; `label` names it in messages.
    pub fn open(path: &Path, label: &str) -> Result<Self> {
        let metadata = open_parquet(path, label)?;
        for wanted in R::schema().fields() {
            let Ok(found) = metadata.schema().field_with_name(wanted.name()) else {
                let have: Vec<_> = metadata
                    .schema()
                    .fields()
                    .iter()
                    .map(|f| f.name().as_str())
                    .collect();
                bail!(
                    "{label} ({}) has no column `{}`, so it is not a table `{}`; its columns are: {}",
                    path.display(),
                    wanted.name(),
                    R::TABLE,
                    have.join(", ")
                );
            };
            ensure!(
                same_family(found.data_type(), wanted.data_type()),
                "column `{}` of {label} ({}) has type {}, but table `{}` wants {}",
                wanted.name(),
                path.display(),
                found.data_type(),
                R::TABLE,
                wanted.data_type()
            );
        }
        let (path, label) = (path.to_owned(), label.to_owned());
        Ok(Self {
            path,
            label,
            metadata,
            row: PhantomData,
        })
    }

    /// Number of rows.
    pub fn len(&self) -> u64 {
        self.metadata.metadata().file_metadata().num_rows() as u64
    }

    /// Whether the table has no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All rows in order, a batch in memory at a time.
    pub fn rows(&self) -> Result<Rows<R>> {
        self.range(0, self.len())
    }

    /// All rows in order, in batches of at most about so many bytes.
    pub(crate) fn rows_by(&self, batch_bytes: usize) -> Result<Rows<R>> {
        let rows = batch_rows(&self.metadata, batch_bytes.min(BATCH_BYTES));
        self.batches(0, self.len(), rows)
    }

    /// Rows `start..end`; what stands before `start` is skipped by pages, not decoded.
    pub fn range(&self, start: u64, end: u64) -> Result<Rows<R>> {
        self.batches(start, end, batch_rows(&self.metadata, BATCH_BYTES))
    }

    fn batches(&self, start: u64, end: u64, batch_rows: usize) -> Result<Rows<R>> {
        let schema = R::schema();
        let wanted = schema
            .fields()
            .iter()
            .map(|field| self.metadata.schema().index_of(field.name()));
        let wanted = wanted.collect::<Result<Vec<_>, _>>()?;
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), wanted);
        let file = File::open(&self.path)?.into_file();
        let reader =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
                .with_projection(mask)
                .with_batch_size(batch_rows)
                .with_offset(start as usize)
                .with_limit(end.saturating_sub(start) as usize)
                .build()
                .with_context(|| format!("cannot read {}", self.label))?;
        Ok(Rows {
            label: self.label.clone(),
            reader,
            batch: None,
            next: 0,
            position: start,
            row: PhantomData,
        })
    }
}

/// Iterator over the rows of a table.
pub struct Rows<R: Row> {
    label: String,
    reader: ParquetRecordBatchReader,
    batch: Option<RecordBatch>,
    /// Next row within the batch.
    next: usize,
    /// Row of the file at which the batch starts.
    position: u64,
    row: PhantomData<fn() -> R>,
}

impl<R: Row> Rows<R> {
    /// The next batch, cast to exactly `R::schema()`; `None` at the end.
    pub fn next_batch(&mut self) -> Option<Result<RecordBatch>> {
        let batch = self.reader.next()?;
        Some(self.checked(batch.map_err(anyhow::Error::from)))
    }

    fn checked(&self, batch: Result<RecordBatch>) -> Result<RecordBatch> {
        let batch = batch.with_context(|| {
            format!(
                "{} is damaged at or after row {}; fetch or make it again",
                self.label, self.position
            )
        })?;
        let schema = R::schema();
        let mut columns = Vec::with_capacity(schema.fields().len());
        for wanted in schema.fields() {
            let column = batch
                .column_by_name(wanted.name())
                .expect("checked when opened");
            // Not `safe`: a value that does not fit is an error, never a silent null.
            let options = CastOptions {
                safe: false,
                ..CastOptions::default()
            };
            let column = cast_with_options(column, wanted.data_type(), &options).with_context(|| {
                format!(
                    "column `{}` of {} has a null or a value that does not fit {} in rows {}..{}",
                    wanted.name(),
                    self.label,
                    wanted.data_type(),
                    self.position,
                    self.position + batch.num_rows() as u64
                )
            })?;
            if !wanted.is_nullable() && column.null_count() > 0 {
                let row = (0..column.len())
                    .find(|&row| column.is_null(row))
                    .unwrap_or(0);
                bail!(
                    "column `{}` of {} is null in row {}, but table `{}` allows no nulls there",
                    wanted.name(),
                    self.label,
                    self.position + row as u64,
                    R::TABLE
                );
            }
            columns.push(column);
        }
        Ok(RecordBatch::try_new(schema, columns)?)
    }
}

impl<R: Row> Iterator for Rows<R> {
    type Item = Result<R>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(batch) = &self.batch {
                if self.next < batch.num_rows() {
                    self.next += 1;
                    return Some(Ok(R::from_batch(batch, self.next - 1)));
                }
                self.position += batch.num_rows() as u64;
                self.batch = None;
            }
            match self.next_batch()? {
                Ok(batch) => {
                    self.batch = Some(batch);
                    self.next = 0;
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Whether a cast between the two keeps every value's meaning.
fn same_family(found: &DataType, wanted: &DataType) -> bool {
    match (found, wanted) {
        (
            DataType::List(a) | DataType::LargeList(a) | DataType::FixedSizeList(a, _),
            DataType::List(b),
        ) => same_family(a.data_type(), b.data_type()),
        (DataType::Struct(a), DataType::Struct(b)) => {
            // By position as well as by name: a cast of structs goes by position.
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|(x, y)| x.name() == y.name() && same_family(x.data_type(), y.data_type()))
        }
        (DataType::Dictionary(_, value), wanted) => same_family(value, wanted),
        (found, DataType::LargeUtf8) => {
            matches!(
                found,
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
            )
        }
        (found, DataType::Float64) => found.is_numeric() && !is_decimal(found),
        (found, wanted) if wanted.is_integer() => found.is_integer(),
        (found, wanted) => found == wanted,
    }
}

fn is_decimal(data_type: &DataType) -> bool {
    use DataType::{Decimal32, Decimal64, Decimal128, Decimal256};
    matches!(
        data_type,
        Decimal32(..) | Decimal64(..) | Decimal128(..) | Decimal256(..)
    )
}
