//! Which problems belong to the test split.
//!
//! Rule, in this order:
//! 1. every problem of a held-out family is a test problem;
//! 2. a problem without constants and parts is a training problem (another split would
//!    hold its whole family out);
//! 3. a composed problem whose composition falls under the hash's threshold is a test
//!    problem, whatever its constants: its parts are known from training, their meeting
//!    is not;
//! 4. a problem whose parts and constants together fall under the threshold is a test
//!    problem, or, just above it, a validation problem;
//! 5. all others are training problems.
//!
//! The split is a function of parts and constants, and the statement shows these, so no
//! statement can be in two splits. The seed decides which constants are held out.

use crate::draw::unit;
use crate::family::{Draft, Family};
use crate::{Options, Split};

/// The split of a draft.
pub(crate) fn of(options: &Options, family: &Family, draft: &Draft) -> Split {
    let key = draft.key();
    if family.held_out {
        return Split::Test;
    }
    if key.is_empty() {
        return Split::Train;
    }
    // Half of the share each for compositions and for constants; a plain family has
    // constants only.
    let composed = !draft.composition.is_empty();
    let share = if composed {
        options.test_share / 2.0
    } else {
        options.test_share
    };
    let seed = options.seed;
    if composed && unit(&format!("{seed}/{}/{}", family.name, draft.composition)) < share {
        return Split::Test;
    }
    let height = unit(&format!("{seed}/{}/{key}/constants", family.name));
    if height < share {
        Split::Test
    } else if height < share + options.test_share / 2.0 {
        Split::Valid
    } else {
        Split::Train
    }
}
