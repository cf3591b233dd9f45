//! How one field of a row becomes one Arrow column, and back.
//!
//! Used by `table.rs` alone: the `table!` macro builds every row struct's schema and
//! conversions from the `Column` implementations below, so that a table's columns are
//! written down once, as the fields of its struct.
//!
//! Promises: strings are `LargeUtf8` (readable by polars and pyarrow, no 2 GiB limit); a
//! field is nullable exactly when it is an `Option`. Absent on purpose: schema evolution and
//! default values. A table either has the column or the reader says which one is missing.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, LargeStringArray,
    LargeStringBuilder, ListArray, ListBuilder, PrimitiveBuilder, StructArray, UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{
    DataType, Field, Fields, Float32Type, Float64Type, Int32Type, Int64Type, UInt32Type,
};

use crate::schema::TestCase;

/// A field type that can stand in a table.
pub trait Column: Sized {
    /// Whether null is a value of this type.
    const NULLABLE: bool = false;
    /// The Arrow type of the column.
    fn data_type() -> DataType;
    /// Builds the column from the field of every row.
    fn build<'a>(values: impl Iterator<Item = &'a Self>) -> ArrayRef
    where
        Self: 'a;
    /// Reads one row; the reader has checked type and nulls before.
    fn get(array: &dyn Array, row: usize) -> Self;
    /// Memory the value takes, roughly, in bytes: decides when rows are written out.
    fn bytes(&self) -> usize {
        size_of::<Self>()
    }
}

macro_rules! primitive {
    ($rust:ty, $array:ty, $arrow:ty, $data_type:expr) => {
        impl Column for $rust {
            fn data_type() -> DataType {
                $data_type
            }
            fn build<'a>(values: impl Iterator<Item = &'a Self>) -> ArrayRef {
                Arc::new(
                    values
                        .copied()
                        .collect::<Vec<_>>()
                        .into_iter()
                        .map(Some)
                        .collect::<$array>(),
                )
            }
            fn get(array: &dyn Array, row: usize) -> Self {
                array.as_primitive::<$arrow>().value(row)
            }
        }
        impl Column for Option<$rust> {
            const NULLABLE: bool = true;
            fn data_type() -> DataType {
                $data_type
            }
            fn build<'a>(values: impl Iterator<Item = &'a Self>) -> ArrayRef {
                Arc::new(values.copied().collect::<$array>())
            }
            fn get(array: &dyn Array, row: usize) -> Self {
                array.is_valid(row).then(|| <$rust>::get(array, row))
            }
        }
    };
}

primitive!(i32, Int32Array, Int32Type, DataType::Int32);
primitive!(i64, Int64Array, Int64Type, DataType::Int64);
primitive!(u32, UInt32Array, UInt32Type, DataType::UInt32);
primitive!(f64, Float64Array, Float64Type, DataType::Float64);

impl Column for bool {
    fn data_type() -> DataType {
        DataType::Boolean
    }
    fn build<'a>(values: impl Iterator<Item = &'a Self>) -> ArrayRef {
        Arc::new(BooleanArray::from(values.copied().collect::<Vec<_>>()))
    }
    fn get(array: &dyn Array, row: usize) -> Self {
        array.as_boolean().value(row)
    }
}

impl Column for String {
    fn data_type() -> DataType {
        DataType::LargeUtf8
    }
    fn build<'a>(values: impl Iterator<Item = &'a Self>) -> ArrayRef {
        Arc::new(LargeStringArray::from_iter_values(values))
    }
    fn get(array: &dyn Array, row: usize) -> Self {
        array.as_string::<i64>().value(row).to_owned()
    }
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.len()
    }
}

impl Column for Option<String> {
    const NULLABLE: bool = true;
    fn data_type() -> DataType {
        DataType::LargeUtf8
    }
    fn build<'a>(values: impl Iterator<Item = &'a Self>) -> ArrayRef {
        Arc::new(values.map(Option::as_deref).collect::<LargeStringArray>())
    }
    fn get(array: &dyn Array, row: usize) -> Self {
        array.is_valid(row).then(|| String::get(array, row))
    }
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.as_ref().map_or(0, String::len)
    }
}

fn item(data_type: DataType) -> Arc<Field> {
    Arc::new(Field::new("item", data_type, false))
}

impl Column for Vec<String> {
    fn data_type() -> DataType {
        DataType::List(item(DataType::LargeUtf8))
    }
    fn build<'a>(values: impl Iterator<Item = &'a Self>) -> ArrayRef {
        let mut builder =
            ListBuilder::new(LargeStringBuilder::new()).with_field(item(DataType::LargeUtf8));
        for list in values {
            for text in list {
                builder.values().append_value(text);
            }
            builder.append(true);
        }
        Arc::new(builder.finish())
    }
    fn get(array: &dyn Array, row: usize) -> Self {
        let items = array.as_list::<i32>().value(row);
        (0..items.len()).map(|i| String::get(&items, i)).collect()
    }
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.iter().map(Column::bytes).sum::<usize>()
    }
}

macro_rules! list_column {
    ($rust:ty, $arrow:ty, $data_type:expr) => {
        impl Column for Vec<$rust> {
            fn data_type() -> DataType {
                DataType::List(item($data_type))
            }
            fn build<'a>(values: impl Iterator<Item = &'a Self>) -> ArrayRef {
                let mut builder = ListBuilder::new(PrimitiveBuilder::<$arrow>::new())
                    .with_field(item($data_type));
                for list in values {
                    builder.values().append_slice(list);
                    builder.append(true);
                }
                Arc::new(builder.finish())
            }
            fn get(array: &dyn Array, row: usize) -> Self {
                let items = array.as_list::<i32>().value(row);
                items.as_primitive::<$arrow>().values().to_vec()
            }
            fn bytes(&self) -> usize {
                size_of::<Self>() + size_of::<$rust>() * self.len()
            }
        }
    };
}

list_column!(u32, UInt32Type, DataType::UInt32);
list_column!(f32, Float32Type, DataType::Float32);

fn test_fields() -> Fields {
    Fields::from(vec![
        Field::new("input", DataType::LargeUtf8, false),
        Field::new("output", DataType::LargeUtf8, false),
    ])
}

impl Column for Vec<TestCase> {
    fn data_type() -> DataType {
        DataType::List(item(DataType::Struct(test_fields())))
    }
    fn build<'a>(values: impl Iterator<Item = &'a Self>) -> ArrayRef {
        let lists: Vec<&Self> = values.collect();
        let offsets = OffsetBuffer::from_lengths(lists.iter().map(|list| list.len()));
        let texts = |text: fn(&TestCase) -> &str| -> ArrayRef {
            let all = lists.iter().flat_map(|list| list.iter().map(text));
            Arc::new(LargeStringArray::from_iter_values(all))
        };
        let columns = vec![texts(|test| &test.input), texts(|test| &test.output)];
        let tests = StructArray::new(test_fields(), columns, None);
        let field = item(DataType::Struct(test_fields()));
        Arc::new(ListArray::new(field, offsets, Arc::new(tests), None))
    }
    fn get(array: &dyn Array, row: usize) -> Self {
        let items = array.as_list::<i32>().value(row);
        let tests = items.as_struct();
        (0..tests.len())
            .map(|i| TestCase {
                input: String::get(tests.column(0), i),
                output: String::get(tests.column(1), i),
            })
            .collect()
    }
    fn bytes(&self) -> usize {
        let texts = self.iter().map(|test| test.input.len() + test.output.len());
        size_of::<Self>() + texts.sum::<usize>() + size_of::<TestCase>() * self.len()
    }
}
