//! What a family is: a recipe that draws a [`Draft`], i.e. one problem without its tests.
//!
//! The files of `families/` and `compose/` build drafts; `tests.rs` adds the tests,
//! `statement.rs` the text, `source.rs` the finished programs; `lib.rs` calls them all.
//!
//! A wrong program is written as an edit of a right one ([`Draft::bug`]), so that it is
//! one human error away from it; an edit that does not apply is a panic, not a silence.

use crate::draw::Draw;
use crate::shape::Shape;
use crate::tests::Size;
use crate::{Claim, Language};

/// One kind of problem.
#[derive(Clone, Copy)]
pub struct Family {
    /// Name, unique, part of the problem's name.
    pub name: &'static str,
    /// All of its problems belong to the test split.
    pub held_out: bool,
    /// Its share of the problems, relative to the other families.
    pub weight: usize,
    /// Draws one problem.
    pub make: fn(&mut Draw) -> Draft,
}

/// A family with few variants.
pub(crate) const fn plain(name: &'static str, make: fn(&mut Draw) -> Draft) -> Family {
    Family {
        name,
        held_out: false,
        weight: 1,
        make,
    }
}

/// A family whose problems are all kept for the test split.
pub(crate) const fn held_out(name: &'static str, make: fn(&mut Draw) -> Draft) -> Family {
    Family {
        name,
        held_out: true,
        weight: 1,
        make,
    }
}

/// A family put together from parts, with hundreds of variants.
pub(crate) const fn composed(name: &'static str, make: fn(&mut Draw) -> Draft) -> Family {
    Family {
        name,
        held_out: false,
        weight: 5,
        make,
    }
}

/// From an input to its right output.
pub type Answer = Box<dyn Fn(&str) -> String>;
/// Draws an input that random numbers would hardly ever give.
pub type Special = Box<dyn Fn(&mut Draw, Size) -> String>;

/// A right program, with placeholders.
pub struct Program {
    /// Its language.
    pub language: Language,
    /// Its style, unique within the draft.
    pub style: String,
    /// Its source: `@READ@`, `@K@` and the like are still to be replaced.
    pub source: String,
}

/// A wrong program: a right one and an edit.
pub struct Bug {
    /// Style of the right program.
    pub style: String,
    /// Name of the error.
    pub kind: &'static str,
    /// What a judge says about it.
    pub claim: Claim,
    /// Pieces to replace, each of which occurs.
    pub edits: Vec<(String, String)>,
    /// What the wrong program prints, where the rule can tell.
    pub model: Option<Answer>,
}

/// One problem without its tests.
pub struct Draft {
    /// The input's shape.
    pub shape: Shape,
    /// Values of the placeholders.
    pub constants: Vec<(String, String)>,
    /// What the problem is made of, for composed families; else empty.
    pub composition: String,
    /// Ways to tell the task.
    pub stories: Vec<String>,
    /// Ways to name the output ("the sum of ...").
    pub asks: Vec<String>,
    /// The reference.
    pub answer: Answer,
    /// Right programs.
    pub programs: Vec<Program>,
    /// Wrong programs.
    pub bugs: Vec<Bug>,
    /// Inputs that must be among the tests.
    pub must: Vec<String>,
    /// Draws half of the inputs, where random ones would be dull.
    pub special: Option<Special>,
    /// Topics.
    pub tags: Vec<&'static str>,
    /// 1 (reading and printing) to 5.
    pub difficulty: i64,
    /// Time limit.
    pub time_limit_s: f64,
}

impl Draft {
    /// An empty draft for inputs of this shape.
    pub fn new(shape: Shape, tags: &[&'static str], difficulty: i64) -> Self {
        Self {
            shape,
            constants: Vec::new(),
            composition: String::new(),
            stories: Vec::new(),
            asks: Vec::new(),
            answer: Box::new(|_| String::new()),
            programs: Vec::new(),
            bugs: Vec::new(),
            must: Vec::new(),
            special: None,
            tags: tags.to_vec(),
            difficulty,
            time_limit_s: 2.0,
        }
    }

    /// Gives a value to the placeholder `@name@`.
    #[must_use]
    pub fn constant(mut self, name: &str, value: impl ToString) -> Self {
        self.constants.push((name.to_owned(), value.to_string()));
        self
    }

    /// One way to tell the task.
    #[must_use]
    pub fn story(mut self, text: &str) -> Self {
        self.stories.push(text.to_owned());
        self
    }

    /// One way to name the output.
    #[must_use]
    pub fn asks(mut self, text: &str) -> Self {
        self.asks.push(text.to_owned());
        self
    }

    /// The reference.
    #[must_use]
    pub fn answer(mut self, answer: impl Fn(&str) -> String + 'static) -> Self {
        self.answer = Box::new(answer);
        self
    }

    /// A right Python program.
    #[must_use]
    pub fn python(self, style: &str, source: &str) -> Self {
        self.program(Language::Python3, style, source)
    }

    /// A right C++ program: the body of `main`, after a line `---` if functions precede it.
    #[must_use]
    pub fn cpp(self, style: &str, source: &str) -> Self {
        self.program(Language::Cpp, style, source)
    }

    fn program(mut self, language: Language, style: &str, source: &str) -> Self {
        assert!(
            self.programs.iter().all(|program| program.style != style),
            "the style `{style}` is used twice"
        );
        let source = source.trim().to_owned();
        self.programs.push(Program {
            language,
            style: style.to_owned(),
            source,
        });
        self
    }

    /// A program that prints something wrong: `from` became `to`.
    #[must_use]
    pub fn bug(self, style: &str, kind: &'static str, from: &str, to: &str) -> Self {
        self.wrong(style, kind, Claim::WrongAnswer, &[(from, to)], None)
    }

    /// As [`Draft::bug`]; `model` is what the wrong program prints, so that a test which
    /// tells is looked for, and the program dropped where there is none.
    #[must_use]
    pub fn bug_like(
        self,
        style: &str,
        kind: &'static str,
        from: &str,
        to: &str,
        model: impl Fn(&str) -> String + 'static,
    ) -> Self {
        self.wrong(
            style,
            kind,
            Claim::WrongAnswer,
            &[(from, to)],
            Some(Box::new(model)),
        )
    }

    /// A program that crashes.
    #[must_use]
    pub fn crash(self, style: &str, kind: &'static str, from: &str, to: &str) -> Self {
        self.wrong(style, kind, Claim::RuntimeError, &[(from, to)], None)
    }

    /// A program that is too slow for one of the inputs in `must`.
    #[must_use]
    pub fn slow(mut self, style: &str, from: &str, to: &str) -> Self {
        self.time_limit_s = 1.0;
        self.wrong(style, "too slow", Claim::TimeLimit, &[(from, to)], None)
    }

    /// A wrong program in full generality.
    #[must_use]
    pub fn wrong(
        mut self,
        style: &str,
        kind: &'static str,
        claim: Claim,
        edits: &[(&str, &str)],
        model: Option<Answer>,
    ) -> Self {
        let base = self.programs.iter().find(|program| program.style == style);
        let base = base.unwrap_or_else(|| panic!("`{kind}` edits `{style}`, which is not there"));
        for (from, to) in edits {
            assert!(
                base.source.contains(from),
                "`{kind}` edits `{from}`, not in {style}"
            );
            assert!(from != to, "`{kind}` changes nothing in {style}");
        }
        let edits = edits
            .iter()
            .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()));
        let edits = edits.collect();
        self.bugs.push(Bug {
            style: style.to_owned(),
            kind,
            claim,
            edits,
            model,
        });
        self
    }

    /// An input that must be among the tests.
    #[must_use]
    pub fn must(mut self, input: impl Into<String>) -> Self {
        self.must.push(input.into());
        self
    }

    /// How half of the inputs are drawn.
    #[must_use]
    pub fn special(mut self, special: impl Fn(&mut Draw, Size) -> String + 'static) -> Self {
        self.special = Some(Box::new(special));
        self
    }

    /// What the problem is made of.
    #[must_use]
    pub fn made_of(mut self, composition: &str) -> Self {
        composition.clone_into(&mut self.composition);
        self
    }

    /// The identity of the problem within its family: parts and constants.
    pub fn key(&self) -> String {
        let mut key = self.composition.clone();
        for (name, value) in &self.constants {
            key.extend([" ", name, "=", value]);
        }
        key
    }

    /// Puts the constants into a text.
    pub fn fill(&self, text: &str) -> String {
        let mut filled = text.to_owned();
        for (name, value) in &self.constants {
            filled = filled.replace(&format!("@{name}@"), value);
        }
        filled
    }
}
