//! The messages between the judge's process and a container's init, and their bytes.
//!
//! One message is one packet of a `SOCK_SEQPACKET` pair: numbers as 8 little-endian
//! bytes, byte strings and lists with their length first. Contents (programs, inputs,
//! outputs) never travel here, only descriptors beside the packet do (`channel`).
//! Both ends are the same binary, so there is no version field.

use crate::{Exit, Isolation, Limits, Stopped};

/// Largest packet either side accepts.
pub(crate) const MAX_MESSAGE_BYTES: usize = 96 << 10;

/// Appends values to a message.
#[derive(Default)]
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    pub(crate) fn number(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    pub(crate) fn flag(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }
    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.number(value.len() as u64);
        self.0.extend_from_slice(value);
    }
    pub(crate) fn list(&mut self, values: &[Vec<u8>]) {
        self.number(values.len() as u64);
        for value in values {
            self.bytes(value);
        }
    }
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Takes values off a message; `None` once it is too short or malformed.
pub(crate) struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Decoder(message)
    }
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }
    pub(crate) fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }
    pub(crate) fn flag(&mut self) -> Option<bool> {
        match self.take(1)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
    pub(crate) fn bytes(&mut self) -> Option<Vec<u8>> {
        let count = usize::try_from(self.number()?).ok()?;
        Some(self.take(count)?.to_vec())
    }
    pub(crate) fn list(&mut self) -> Option<Vec<Vec<u8>>> {
        let count = self.number()?;
        (0..count).map(|_| self.bytes()).collect()
    }
}

/// First message to a launcher: how to build the container.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setup {
    /// Build no namespaces.
    pub(crate) is_bare: bool,
    /// Host folders shown read-only beside the system's own: source, target, source, target...
    pub(crate) shown: Vec<Vec<u8>>,
}

impl Setup {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut to = Encoder::default();
        to.flag(self.is_bare);
        to.list(&self.shown);
        to.into_bytes()
    }
    pub(crate) fn decode(message: &[u8]) -> Option<Self> {
        let mut from = Decoder::new(message);
        Some(Setup {
            is_bare: from.flag()?,
            shown: from.list()?,
        })
    }
}

/// A run; the descriptors beside it are stdin, stdout, stderr, the executable if
/// `is_executable_sent`, then the content of each of `files`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Request {
    /// Arguments; the first is also the path of the executable unless one is sent.
    pub(crate) arguments: Vec<Vec<u8>>,
    /// How many leading arguments are the command of an interpreter that may be kept warm, the
    /// rest being its program; 0 for a start of its own.
    pub(crate) interpreter_arguments: usize,
    /// Whether the executable comes as a descriptor.
    pub(crate) is_executable_sent: bool,
    /// Names of files to place in the working folder.
    pub(crate) files: Vec<Vec<u8>>,
    /// A file of the working folder to hand back if the program exits by itself; empty for none.
    pub(crate) collect: Vec<u8>,
    /// Address space beyond the memory limit.
    pub(crate) address_slack_bytes: u64,
    /// Whether it is counted in the memory control group, if there is one: programs are, tools not.
    pub(crate) is_grouped: bool,
    /// Bounds of the run.
    pub(crate) limits: Limits,
}

impl Request {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut to = Encoder::default();
        to.list(&self.arguments);
        to.number(self.interpreter_arguments as u64);
        to.flag(self.is_executable_sent);
        to.list(&self.files);
        to.bytes(&self.collect);
        to.number(self.address_slack_bytes);
        to.flag(self.is_grouped);
        to.number(self.limits.cpu_s.to_bits());
        to.number(self.limits.memory_bytes);
        to.number(u64::from(self.limits.processes));
        to.number(self.limits.output_bytes);
        to.number(u64::from(self.limits.open_files));
        to.into_bytes()
    }
    pub(crate) fn decode(message: &[u8]) -> Option<Self> {
        let mut from = Decoder::new(message);
        Some(Request {
            arguments: from.list()?,
            interpreter_arguments: usize::try_from(from.number()?).ok()?,
            is_executable_sent: from.flag()?,
            files: from.list()?,
            collect: from.bytes()?,
            address_slack_bytes: from.number()?,
            is_grouped: from.flag()?,
            limits: Limits {
                cpu_s: f64::from_bits(from.number()?),
                memory_bytes: from.number()?,
                processes: u32::try_from(from.number()?).ok()?,
                output_bytes: from.number()?,
                open_files: u32::try_from(from.number()?).ok()?,
            },
        })
    }
}

/// What init measured in one run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measured {
    pub(crate) exit: Exit,
    pub(crate) stopped: Option<Stopped>,
    pub(crate) cpu_ns: u64,
    pub(crate) wall_ns: u64,
    pub(crate) memory_bytes: u64,
}

/// An answer of the launcher or of init.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    /// The container stands and these layers hold.
    Ready(Isolation),
    /// The run ended; a descriptor comes beside it if one was to be collected and exists.
    Done(Measured),
    /// The container could not be built or the program not be started.
    Failed(String),
}

impl Reply {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut to = Encoder::default();
        match self {
            Reply::Ready(isolation) => {
                to.number(0);
                isolation.encode(&mut to);
            }
            Reply::Done(measured) => {
                to.number(1);
                let (kind, value) = match measured.exit {
                    Exit::Status(status) => (0, status),
                    Exit::Signal(signal) => (1, signal),
                };
                to.number(kind);
                to.number(value as u64);
                to.number(match measured.stopped {
                    None => 0,
                    Some(Stopped::Cpu) => 1,
                    Some(Stopped::Idle) => 2,
                    Some(Stopped::Wall) => 3,
                    Some(Stopped::Memory) => 4,
                });
                to.number(measured.cpu_ns);
                to.number(measured.wall_ns);
                to.number(measured.memory_bytes);
            }
            Reply::Failed(reason) => {
                to.number(2);
                to.bytes(reason.as_bytes());
            }
        }
        to.into_bytes()
    }

    pub(crate) fn decode(message: &[u8]) -> Option<Self> {
        let mut from = Decoder::new(message);
        Some(match from.number()? {
            0 => Reply::Ready(Isolation::decode(&mut from)?),
            1 => {
                let (kind, value) = (from.number()?, from.number()? as i32);
                Reply::Done(Measured {
                    exit: if kind == 0 {
                        Exit::Status(value)
                    } else {
                        Exit::Signal(value)
                    },
                    stopped: match from.number()? {
                        0 => None,
                        1 => Some(Stopped::Cpu),
                        2 => Some(Stopped::Idle),
                        3 => Some(Stopped::Wall),
                        4 => Some(Stopped::Memory),
                        _ => return None,
                    },
                    cpu_ns: from.number()?,
                    wall_ns: from.number()?,
                    memory_bytes: from.number()?,
                })
            }
            2 => Reply::Failed(String::from_utf8_lossy(&from.bytes()?).into_owned()),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_replies_survive_the_channel() {
        let request = Request {
            arguments: vec![b"main".to_vec(), Vec::new()],
            interpreter_arguments: 1,
            is_executable_sent: true,
            files: vec![b"main.py".to_vec()],
            collect: b"main".to_vec(),
            address_slack_bytes: 7,
            is_grouped: true,
            limits: Limits {
                cpu_s: 0.25,
                ..Limits::default()
            },
        };
        assert_eq!(Request::decode(&request.encode()), Some(request.clone()));
        let done = Reply::Done(Measured {
            exit: Exit::Signal(11),
            stopped: Some(Stopped::Idle),
            cpu_ns: 1,
            wall_ns: 2,
            memory_bytes: 3,
        });
        assert_eq!(Reply::decode(&done.encode()), Some(done));
        let failed = Reply::Failed("no".to_owned());
        assert_eq!(Reply::decode(&failed.encode()), Some(failed));
        let setup = Setup {
            is_bare: false,
            shown: vec![b"/opt/x".to_vec(), b"/x".to_vec()],
        };
        assert_eq!(Setup::decode(&setup.encode()), Some(setup));
    }

    #[test]
    fn a_cut_message_is_refused_not_guessed() {
        let bytes = Reply::Failed("reason".to_owned()).encode();
        for length in 0..bytes.len() {
            assert_eq!(Reply::decode(&bytes[..length]), None, "cut at {length}");
        }
    }
}
