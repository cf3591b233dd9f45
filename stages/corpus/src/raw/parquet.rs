//! Parquet files of any writer.
//!
//! Called by `raw.rs`. Text is read as bytes and checked value by value: the Parquet reader
//! itself would give up a whole batch for one program that is not UTF-8, and collections of
//! submissions have some. To that end the logical type "string" is taken off the file's schema
//! before it is read.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use fs_err::File;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{ConvertedType, LogicalType, Type as PhysicalType};
use parquet::file::metadata::{FileMetaData, ParquetMetaData};
use parquet::schema::types::{SchemaDescriptor, Type};

use super::{Cell, Record, Records, Shape, Wanted};
use crate::table::{BATCH_BYTES, batch_rows, open_parquet};

pub(super) fn records(path: &Path, label: &str, wanted: &[Wanted]) -> Result<Records> {
    let metadata = text_as_bytes(&open_parquet(path, label)?)
        .with_context(|| format!("cannot understand the schema of {label}"))?;
    let schema = Arc::clone(metadata.schema());
    let mut roots = Vec::new();
    for Wanted { column, shape } in wanted {
        let Some(column) = column else { continue };
        let Ok(root) = schema.index_of(column) else {
            let have: Vec<_> = schema
                .fields()
                .iter()
                .map(|field| field.name().as_str())
                .collect();
            bail!(
                "{label} ({}) has no column `{column}`; its columns are: {}",
                path.display(),
                have.join(", ")
            );
        };
        let found = schema.field(root).data_type();
        ensure!(
            fits(found, shape),
            "column `{column}` of {label} ({}) should be {shape}, but is {found}",
            path.display()
        );
        roots.push(root);
    }
    let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
    let batch_rows = batch_rows(&metadata, BATCH_BYTES);
    let file = File::open(path)?.into_file();
    let batches = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
        .with_projection(mask)
        .with_batch_size(batch_rows)
        .build()
        .with_context(|| format!("cannot read {label}"))?;
    let (label, wanted) = (label.to_owned(), wanted.to_vec());
    let mut start = 0;
    let records = batches.flat_map(move |batch| {
        let records: Vec<Result<Record>> = match batch {
            Ok(batch) => {
                let records = rows(&batch, &wanted, start);
                start += batch.num_rows() as u64;
                records.into_iter().map(Ok).collect()
            }
            Err(error) => vec![Err(anyhow!(error).context(format!(
                "{label} is damaged at or after row {start}; fetch it again"
            )))],
        };
        records
    });
    Ok(Box::new(records))
}

fn rows(batch: &RecordBatch, wanted: &[Wanted], start: u64) -> Vec<Record> {
    let value = |wanted: &Wanted, row| match &wanted.column {
        Some(name) => {
            let column = batch.column_by_name(name).expect("checked when opened");
            cell(column, row, &wanted.shape)
        }
        None => Cell::Null,
    };
    (0..batch.num_rows())
        .map(|row| Record {
            row: start + row as u64,
            cells: wanted.iter().map(|wanted| value(wanted, row)).collect(),
        })
        .collect()
}

/// The same file with every string column declared as plain bytes.
fn text_as_bytes(metadata: &ArrowReaderMetadata) -> Result<ArrowReaderMetadata> {
    let metadata = metadata.metadata();
    let file = metadata.file_metadata();
    let schema = plain(file.schema())?;
    let file = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_owned),
        None,
        Arc::new(SchemaDescriptor::new(Arc::new(schema))),
        None,
    );
    let metadata = ParquetMetaData::new(file, metadata.row_groups().to_vec());
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    Ok(ArrowReaderMetadata::try_new(Arc::new(metadata), options)?)
}

fn plain(schema: &Type) -> Result<Type> {
    let info = schema.get_basic_info();
    let repetition = info.has_repetition().then(|| info.repetition());
    let id = info.has_id().then(|| info.id());
    Ok(if schema.is_group() {
        let fields = schema
            .get_fields()
            .iter()
            .map(|field| Ok(Arc::new(plain(field)?)));
        let mut builder = Type::group_type_builder(schema.name())
            .with_fields(fields.collect::<Result<_>>()?)
            .with_converted_type(info.converted_type())
            .with_logical_type(info.logical_type_ref().cloned())
            .with_id(id);
        if let Some(repetition) = repetition {
            builder = builder.with_repetition(repetition);
        }
        builder.build()?
    } else if schema.get_physical_type() == PhysicalType::BYTE_ARRAY
        && (matches!(
            info.logical_type_ref(),
            Some(LogicalType::String | LogicalType::Json)
        ) || matches!(
            info.converted_type(),
            ConvertedType::UTF8 | ConvertedType::JSON
        ))
    {
        let mut builder = Type::primitive_type_builder(schema.name(), PhysicalType::BYTE_ARRAY);
        builder = builder.with_id(id);
        if let Some(repetition) = repetition {
            builder = builder.with_repetition(repetition);
        }
        builder.build()?
    } else {
        schema.clone()
    })
}

/// Whether values of this type can be read as this shape.
fn fits(found: &DataType, shape: &Shape) -> bool {
    match (found, shape) {
        // A column of type null has nothing but nulls.
        (DataType::Null, _) | (DataType::Binary | DataType::Boolean, Shape::Text) => true,
        (found, Shape::Text) => found.is_integer(),
        (found, Shape::Integer | Shape::Real) => {
            found.is_integer() || found.is_floating() || found == &DataType::Binary
        }
        (DataType::List(of), Shape::List(shape)) => fits(of.data_type(), shape),
        (DataType::Struct(found), Shape::Struct(fields)) => fields.iter().all(|(name, shape)| {
            found
                .iter()
                .any(|f| f.name() == name && fits(f.data_type(), shape))
        }),
        _ => false,
    }
}

fn cell(array: &dyn Array, row: usize, shape: &Shape) -> Cell {
    if array.is_null(row) {
        return Cell::Null;
    }
    match (array.data_type(), shape) {
        (DataType::Null, _) => Cell::Null,
        (DataType::Binary, _) => {
            let bytes = array.as_binary::<i32>().value(row);
            match std::str::from_utf8(bytes) {
                Ok(text) => Cell::Text(text.to_owned()),
                Err(_) => Cell::NotUtf8,
            }
        }
        (DataType::Int64, _) => Cell::Integer(array.as_primitive::<Int64Type>().value(row)),
        (DataType::Boolean, _) => Cell::Bool(array.as_boolean().value(row)),
        (DataType::List(_), Shape::List(of)) => {
            let items = array.as_list::<i32>().value(row);
            Cell::List((0..items.len()).map(|i| cell(&items, i, of)).collect())
        }
        (DataType::Struct(_), Shape::Struct(fields)) => {
            let found = array.as_struct();
            let field = |(name, shape): &(&str, Shape)| {
                found
                    .column_by_name(name)
                    .map_or(Cell::Null, |column| cell(column, row, shape))
            };
            Cell::Struct(fields.iter().map(field).collect())
        }
        (found, _) => number(array, row, found.is_integer()),
    }
}

fn number(array: &dyn Array, row: usize, integer: bool) -> Cell {
    let one = array.slice(row, 1);
    let wanted = if integer {
        DataType::Int64
    } else {
        DataType::Float64
    };
    match arrow::compute::cast(&one, &wanted) {
        Ok(value) if value.is_null(0) => Cell::Null,
        Ok(value) if integer => Cell::Integer(value.as_primitive::<Int64Type>().value(0)),
        Ok(value) => Cell::Real(value.as_primitive::<Float64Type>().value(0)),
        Err(_) => Cell::Null,
    }
}
