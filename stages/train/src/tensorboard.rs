//! Writes TensorBoard event files: TFRecord framing around hand-encoded protocol buffers.
//!
//! Used by `metrics`. Only scalars are written, which takes three message types (`Event`,
//! `Summary`, `Summary.Value`) and no dependency. Event files hold wall times, so they go to
//! the log directory and never into an artifact. A resumed run adds a second file; where
//! steps overlap, TensorBoard shows the newer one.

use anyhow::Result;
use fs_err::File;
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Writes one event file.
pub struct EventWriter {
    file: File,
}

impl EventWriter {
    /// Makes a new event file in `dir`.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn create(dir: &Path) -> Result<Self> {
        fs_err::create_dir_all(dir)?;
        let now = wall_time_s();
        let name = format!(
            "events.out.tfevents.{:010}.{:09}.iota",
            now as u64,
            (now.fract() * 1e9) as u64
        );
        let mut writer = Self {
            file: File::create(dir.join(name))?,
        };
        let mut event = Vec::new();
        double_field(&mut event, 1, now);
        bytes_field(&mut event, 3, b"brain.Event:2");
        writer.record(&event)?;
        Ok(writer)
    }

    /// Writes one scalar of one step.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn scalar(&mut self, step: u64, tag: &str, value: f64) -> Result<()> {
        let mut scalar = Vec::new();
        bytes_field(&mut scalar, 1, tag.as_bytes());
        // simple_value, a 32-bit float: wire type 5.
        varint(&mut scalar, 2 << 3 | 5);
        scalar.extend_from_slice(&(value as f32).to_le_bytes());
        let mut summary = Vec::new();
        bytes_field(&mut summary, 1, &scalar);
        let mut event = Vec::new();
        double_field(&mut event, 1, wall_time_s());
        varint(&mut event, 2 << 3);
        varint(&mut event, step);
        bytes_field(&mut event, 5, &summary);
        self.record(&event)
    }

    /// Length, masked checksum of the length, data, masked checksum of the data; in one write,
    /// so that a kill leaves whole records but for the last.
    fn record(&mut self, data: &[u8]) -> Result<()> {
        let length = (data.len() as u64).to_le_bytes();
        let mut record = length.to_vec();
        record.extend_from_slice(&masked(crc32c(&length)).to_le_bytes());
        record.extend_from_slice(data);
        record.extend_from_slice(&masked(crc32c(data)).to_le_bytes());
        self.file.write_all(&record)?;
        Ok(())
    }
}

fn wall_time_s() -> f64 {
    // A clock before 1970 only makes an odd log.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |time| time.as_secs_f64())
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Wire type 2: a string or a message.
fn bytes_field(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Wire type 1: eight bytes.
fn double_field(out: &mut Vec<u8>, field: u64, value: f64) {
    varint(out, field << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// CRC-32C (Castagnoli), bit by bit: records are a few dozen bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0x82F6_3B78
            } else {
                crc >> 1
            };
        }
    }
    !crc
}

/// TFRecord's disguise for checksums that are stored beside their data.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xA282_EAD8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_of_the_standard_vectors() {
        // RFC 3720, B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn records_are_framed_as_tensorflow_frames_them() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut writer = EventWriter::create(dir.path()).expect("a writable directory");
        writer.scalar(300, "loss", 1.5).expect("a written scalar");
        let entry = fs_err::read_dir(dir.path())
            .expect("the directory")
            .next()
            .expect("one file");
        let bytes = fs_err::read(entry.expect("an entry").path()).expect("the file");
        // The frame of the first record: 24 bytes of data, 9 of time and 15 of version.
        assert_eq!(bytes[..8], 24_u64.to_le_bytes());
        assert_eq!(bytes[8..12], masked(crc32c(&bytes[..8])).to_le_bytes());
        assert_eq!(&bytes[12 + 9..12 + 24], b"\x1a\x0dbrain.Event:2");
        let event = &bytes[24 + 16 + 12..bytes.len() - 4];
        let mut wanted = b"\x10\xac\x02\x2a\x0d\x0a\x0b\x0a\x04loss\x15".to_vec();
        wanted.extend_from_slice(&1.5_f32.to_le_bytes());
        assert_eq!(event[9..], wanted);
    }
}
