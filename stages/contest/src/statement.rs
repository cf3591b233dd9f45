//! The text of a problem, in the manner of CodeContests: story, Input, Output, Examples.
//!
//! Called by `lib.rs`. The example is the first public test.

use crate::draw::Draw;
use crate::family::Draft;

const NAMES: [&str; 12] = [
    "Alice", "Bob", "Polycarp", "Vasya", "Petya", "Masha", "Chef", "Ivan", "Lena", "Taro", "Anna",
    "Mike",
];

/// Story, Input and Output of a draft, without the example.
pub(crate) fn text(draft: &Draft, draw: &mut Draw) -> String {
    let story = &draft.stories[draw.index(draft.stories.len())];
    let ask = &draft.asks[draw.index(draft.asks.len())];
    let output = draw
        .one(&["Print ASK.", "Output ASK.", "Print ASK."])
        .replace("ASK", ask);
    let text = format!(
        "{story}\n\nInput\n\n{}\n\nOutput\n\n{output}",
        draft.shape.input_text(draw)
    );
    draft.fill(&text).replace("@NAME@", draw.one(&NAMES))
}

/// The text with its example.
pub(crate) fn with_example(text: &str, example: &(String, String)) -> String {
    format!(
        "{text}\n\nExamples\n\nInput\n\n{}\nOutput\n\n{}",
        example.0, example.1
    )
}
