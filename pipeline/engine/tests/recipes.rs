//! Mistakes in recipes: one error each, with the place, the bytes and the way out.
#![allow(clippy::unwrap_used, missing_docs)]

mod fake;

use engine::{Error, RecipeError};
use fake::{chain, recipe, recipe_set};

fn mistake(text: &str) -> RecipeError {
    match recipe(text) {
        Err(Error::Recipe(error)) => *error,
        other => panic!("not refused as a recipe: {other:?}"),
    }
}

fn underlined(error: &RecipeError) -> &str {
    &error.text[error.span.clone()]
}

#[test]
fn an_unknown_setting_is_underlined_with_a_suggestion() {
    let error = mistake("[words]\ntext = \"x\"\nlaest = 3\n");
    assert_eq!(underlined(&error), "laest");
    assert_eq!(error.line(), 3);
    assert_eq!(error.help.as_deref(), Some("did you mean `least`?"));
}

#[test]
fn a_wrong_type_is_underlined() {
    let error = mistake("[words]\ntext = \"x\"\nleast = \"two\"\n");
    assert_eq!(underlined(&error), "\"two\"");
    assert!(error.message.contains("least"), "{}", error.message);
}

#[test]
fn a_value_out_of_range_is_underlined() {
    let error = mistake("[words]\ntext = \"x\"\nleast = 100\n");
    assert_eq!(underlined(&error), "100");
    assert!(error.message.contains("below 100"));
}

#[test]
fn a_missing_setting_names_its_section() {
    let error = mistake("[words]\nleast = 1\n");
    assert_eq!(underlined(&error), "words");
    assert!(
        error.message.contains("missing field `text`"),
        "{}",
        error.message
    );
}

#[test]
fn unknown_names_are_refused_with_the_nearest() {
    let stage = mistake("[x]\nstage = \"wrods\"\n");
    assert_eq!(
        (underlined(&stage), stage.help.as_deref()),
        ("\"wrods\"", Some("did you mean `words`?"))
    );
    let node =
        mistake("[join]\ninputs = { words = [\"aa\"] }\n[a]\nstage = \"words\"\ntext = \"\"\n");
    assert_eq!(
        (underlined(&node), node.help.as_deref()),
        ("\"aa\"", Some("did you mean `a`?"))
    );
    let input = mistake("[join]\ninputs = { word = [] }\n");
    assert_eq!(
        (underlined(&input), input.help.as_deref()),
        ("word", Some("did you mean `words`?"))
    );
    let output = mistake(&chain("x", "").replace("b.words", "b.wodrs"));
    assert_eq!(output.help.as_deref(), Some("did you mean `words`?"));
    let key = mistake("sead = 3\n");
    assert_eq!(
        (underlined(&key), key.help.as_deref()),
        ("sead", Some("did you mean `seed`?"))
    );
}

#[test]
fn wrong_kinds_unbound_inputs_and_circles_are_refused() {
    let kind = mistake(&format!(
        "{}\n[k]\nstage = \"join\"\ninputs = {{ words = \"join.line\" }}\n",
        chain("x", "")
    ));
    assert!(kind.message.contains("is a tree"), "{}", kind.message);
    let unbound = mistake("[join]\nglue = \"-\"\n");
    assert!(
        unbound.message.contains("`words` of `join` is not bound"),
        "{}",
        unbound.message
    );
    let circle = mistake(
        "[a]\nstage = \"words\"\ntext = \"\"\ninputs = { more = \"b\" }\n[b]\nstage = \"words\"\ntext = \"\"\ninputs = { more = \"a\" }\n",
    );
    assert!(
        circle.message.contains("circle: a, b"),
        "{}",
        circle.message
    );
}

#[test]
fn broken_toml_is_refused_at_its_place() {
    let error = mistake("[words]\ntext = \n");
    assert_eq!(error.line(), 2);
}

#[test]
fn overrides_win_and_are_checked_like_the_file() {
    let text = chain("x", "");
    let recipe = recipe_set(&text, &["b.text=plain words", "b.least=1", "join.seed=5"]).unwrap();
    let b = recipe.node("b").unwrap();
    assert_eq!(b.what["text"], "plain words");
    assert_eq!(b.what["least"], 1);
    assert_eq!(recipe.node("join").unwrap().seed, Some(5));
    for (bad, wanted) in [
        ("b.laest=1", "laest"),
        ("b.least=two", "two"),
        ("nothing", "nothing"),
        ("b.seed=3", "seed"),
    ] {
        match recipe_set(&text, &[bad]) {
            Err(Error::Recipe(error)) => {
                assert_eq!((error.file.as_str(), underlined(&error)), ("--set", wanted));
            }
            other => panic!("{bad} was not refused: {other:?}"),
        }
    }
}

#[test]
fn like_copies_another_nodes_settings() {
    let text = format!(
        "{}\n[join-plus]\nlike = \"join\"\nglue = \"+\"\n",
        chain("x", "")
    );
    let recipe = recipe(&text).unwrap();
    let copy = recipe.node("join-plus").unwrap();
    assert_eq!(copy.stage.name, "join");
    assert_eq!(copy.what["glue"], "+");
    assert_eq!(copy.inputs, recipe.node("join").unwrap().inputs);
}

#[test]
fn extends_starts_from_another_recipe() {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path().join("base.toml");
    fs_err::write(&base, chain("x", "")).unwrap();
    let text = format!("extends = \"{}\"\n[b]\ntext = \"other\"\n", base.display());
    let recipe = recipe(&text).unwrap();
    assert_eq!(recipe.node("b").unwrap().what["text"], "other");
    assert_eq!(recipe.name, "test");
    // A mistake in the base is underlined in the base.
    fs_err::write(&base, chain("x", "glu = 1")).unwrap();
    let error = mistake(&text);
    assert!(error.file.ends_with("base.toml"), "{}", error.file);
    assert_eq!(underlined(&error), "glu");
}
