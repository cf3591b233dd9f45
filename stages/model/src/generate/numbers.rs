//! The two ways in which keys, values and weights are kept: 32-bit floats and bfloat16.
//!
//! Used by `packed`, `page` and `attend`, which compute in f32 in either case. A bfloat16 is the
//! upper half of an f32: half the bytes to read, 8 bits of precision.

/// A kept number.
pub(super) trait Kept: Copy {
    fn new(value: f32) -> Self;
    fn get(self) -> f32;
    /// The numbers, which are kept in this way.
    fn of(numbers: &Numbers) -> &[Self];
    fn of_mut(numbers: &mut Numbers) -> &mut [Self];
}

/// A bfloat16.
#[derive(Clone, Copy)]
pub(super) struct Brief(u16);

/// Numbers of one kind.
#[derive(Clone)]
pub(super) enum Numbers {
    Full(Vec<f32>),
    Brief(Vec<Brief>),
    /// On a device, at the place of this number.
    #[cfg(feature = "device")]
    Elsewhere(u32),
}

impl Numbers {
    pub(super) fn zeros(brief: bool, length: usize) -> Self {
        if brief {
            Self::Brief(vec![Brief(0); length])
        } else {
            Self::Full(vec![0.0; length])
        }
    }

    pub(super) fn copy_from(&mut self, other: &Self) {
        match (self, other) {
            (Self::Full(to), Self::Full(from)) => to.copy_from_slice(from),
            (Self::Brief(to), Self::Brief(from)) => to.copy_from_slice(from),
            _ => unreachable!("a pool has numbers of one kind"),
        }
    }
}

impl Kept for f32 {
    #[inline(always)]
    #[allow(clippy::inline_always)] // must vectorise inside its callers
    fn new(value: f32) -> Self {
        value
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // must vectorise inside its callers
    fn get(self) -> f32 {
        self
    }

    fn of(numbers: &Numbers) -> &[Self] {
        match numbers {
            Numbers::Full(values) => values,
            Numbers::Brief(_) => unreachable!("the caller looked"),
            #[cfg(feature = "device")]
            Numbers::Elsewhere(_) => unreachable!("the caller looked"),
        }
    }

    fn of_mut(numbers: &mut Numbers) -> &mut [Self] {
        match numbers {
            Numbers::Full(values) => values,
            Numbers::Brief(_) => unreachable!("the caller looked"),
            #[cfg(feature = "device")]
            Numbers::Elsewhere(_) => unreachable!("the caller looked"),
        }
    }
}

impl Kept for Brief {
    /// Rounds to nearest, ties to even; NaN stays NaN.
    #[inline(always)]
    #[allow(clippy::inline_always)] // must vectorise inside its callers
    fn new(value: f32) -> Self {
        Self(half::bf16::from_f32(value).to_bits())
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // must vectorise inside its callers
    fn get(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }

    fn of(numbers: &Numbers) -> &[Self] {
        match numbers {
            Numbers::Brief(values) => values,
            Numbers::Full(_) => unreachable!("the caller looked"),
            #[cfg(feature = "device")]
            Numbers::Elsewhere(_) => unreachable!("the caller looked"),
        }
    }

    fn of_mut(numbers: &mut Numbers) -> &mut [Self] {
        match numbers {
            Numbers::Brief(values) => values,
            Numbers::Full(_) => unreachable!("the caller looked"),
            #[cfg(feature = "device")]
            Numbers::Elsewhere(_) => unreachable!("the caller looked"),
        }
    }
}
