//! What operators' pages are made of: headings, facts, tables, charts and forms, one template for all of them.

use askama::Template;
use axum::response::Response;
use dipper_core::time::Timestamp;

use crate::console::frame::{Frame, page};
use crate::console::told::in_words;
use crate::console::words::Words;

/// A page of an operator.
#[derive(Template)]
#[template(path = "console/operator/sheet.html")]
pub(super) struct Sheet {
    frame: Frame,
    /// How often a script looks whether the live part is another, in seconds; 0 where nothing is live.
    live_seconds: u32,
    /// What is looked at again and again.
    live: Vec<Block>,
    /// The rest.
    blocks: Vec<Block>,
}

impl Sheet {
    pub(super) fn new(frame: Frame, blocks: Vec<Block>) -> Sheet {
        Sheet { frame, live_seconds: 0, live: Vec::new(), blocks }
    }

    /// With a part that is looked at again and again. Nothing in it is to be typed into.
    pub(super) fn live(self, seconds: u32, live: Vec<Block>) -> Sheet {
        Sheet { live_seconds: seconds, live, ..self }
    }

    pub(super) fn answer(&self) -> Response {
        page(self)
    }
}

/// A part of a page.
pub(super) enum Block {
    Heading(String),
    Text(String),
    /// A sentence that stands out: `good`, `warn` or `failure`.
    Notice(&'static str, String),
    /// What is shown this once.
    Secret(String, String),
    /// Sentences, each with the word for how much it matters.
    Findings(Vec<(Cell, String)>),
    Facts(Vec<(String, Cell)>),
    Table(Table),
    Chart(Chart),
    Form(Form),
    Links(Vec<(String, String)>),
}

/// A table. On a phone each row is a card whose cells name themselves.
pub(super) struct Table {
    pub(super) caption: String,
    pub(super) heads: Vec<String>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// What stands there when there are no rows.
    pub(super) empty: String,
}

impl Table {
    fn cells<'a>(&'a self, row: &'a [Cell]) -> Vec<(&'a str, &'a Cell)> {
        self.heads.iter().map(String::as_str).chain(std::iter::repeat("")).zip(row).collect()
    }

    /// The heads, and whether numbers stand below each.
    fn heads(&self) -> Vec<(&str, bool)> {
        let is_number = |place: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(place));
            cells.into_iter().any(|cell| matches!(cell, Cell::Number(_)))
        };
        self.heads.iter().enumerate().map(|(place, head)| (head.as_str(), is_number(place))).collect()
    }
}

impl Cell {
    /// The class of its place.
    fn class(&self) -> &'static str {
        match self {
            Cell::Number(_) => "number",
            Cell::Code(_) | Cell::Link(..) => "wrap",
            Cell::Prose { .. } => "wrap prose",
            Cell::Text(_) | Cell::Time(..) | Cell::Id(..) | Cell::State(..) | Cell::Share(..) | Cell::Forms(_) => "",
        }
    }
}

/// What stands in a place of a table.
#[derive(Clone)]
pub(super) enum Cell {
    Text(String),
    Code(String),
    Number(String),
    /// A point in time: for programs, and for people.
    Time(String, String),
    Link(String, String),
    /// As [`Cell::Link`], with an identifier, which is kept in one piece.
    Id(String, String),
    /// A text. Of a long one, `begin` is shown, and all of it is unfolded by whoever wants to read it. The language is told
    /// where it may be another than the page's.
    Prose {
        begin: Option<String>,
        text: String,
        language: Option<&'static str>,
    },
    /// A word for a state, with how good that is: `good`, `warn`, `bad` or nothing.
    State(&'static str, String),
    /// How much of something: the share, of a hundred, and in words.
    Share(String, String),
    Forms(Vec<Form>),
}

/// A form. One with `post` changes something.
#[derive(Clone, Default)]
pub(super) struct Form {
    pub(super) action: String,
    pub(super) post: bool,
    pub(super) fields: Vec<Field>,
    pub(super) button: String,
    /// What the button is for, where the word alone does not say it.
    pub(super) about: String,
    pub(super) is_danger: bool,
    /// Stands in a row of a table.
    pub(super) is_small: bool,
}

impl Form {
    /// A button in a row of a table.
    pub(super) fn button(action: String, button: String, about: String) -> Form {
        Form { action, post: true, button, about, is_small: true, ..Form::default() }
    }

    pub(super) fn danger(self) -> Form {
        Form { is_danger: true, ..self }
    }

    pub(super) fn field(mut self, field: Field) -> Form {
        self.fields.push(field);
        self
    }
}

/// What is filled in.
#[derive(Clone)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) label: String,
    pub(super) value: String,
    pub(super) kind: Kind,
    pub(super) required: bool,
}

/// How something is filled in.
#[derive(Clone)]
pub(super) enum Kind {
    Hidden,
    Text,
    Day,
    /// A whole number between two.
    Number(u64, u64),
    /// One of these: the value, and its word.
    Choice(Vec<(String, String)>),
    Lines,
}

impl Field {
    pub(super) fn hidden(name: &'static str, value: impl Into<String>) -> Field {
        Field { name, label: String::new(), value: value.into(), kind: Kind::Hidden, required: false }
    }

    pub(super) fn new(name: &'static str, label: String, value: impl Into<String>, kind: Kind) -> Field {
        Field { name, label, value: value.into(), kind, required: false }
    }

    pub(super) fn required(self) -> Field {
        Field { required: true, ..self }
    }

    /// Its id on the page: forms in a table have fields of the same name.
    fn id(&self, action: &str) -> String {
        let place: String =
            action.chars().map(|character| if character.is_ascii_alphanumeric() { character } else { '-' }).collect();
        format!("{}{place}", self.name)
    }
}

/// Bars over time, in one or two rows, with their numbers in a table beside it.
pub(super) struct Chart {
    pub(super) title: String,
    /// What the bars begin and end with.
    pub(super) first: String,
    pub(super) last: String,
    /// What the highest bar stands for.
    pub(super) top: String,
    pub(super) bars: Vec<Bar>,
    /// The numbers.
    pub(super) table: Table,
    /// What opens the table.
    pub(super) summary: String,
}

/// A bar, in the units of the drawing, which is 720 wide and 160 high.
pub(super) struct Bar {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) class: &'static str,
}

/// The width of the drawing.
const WIDTH: u64 = 720;
/// The height of the highest bar, and where all of them stand.
const HIGHEST: u64 = 110;
const GROUND: u64 = 132;

/// Bars of these heights, side by side. What is more than nothing can be seen. Those that are marked are bad.
pub(super) fn bars(values: &[(u64, bool)]) -> Vec<Bar> {
    let most = values.iter().map(|(value, _)| *value).max().unwrap_or(0).max(1);
    let step = WIDTH / (values.len() as u64).max(1);
    let bar = |(number, (value, is_bad)): (u64, &(u64, bool))| {
        let height = u128::from(*value) * u128::from(HIGHEST) / u128::from(most);
        let height = u64::try_from(height).unwrap_or(HIGHEST).max(u64::from(*value > 0 || *is_bad) * 2);
        let units = |value: u64| u32::try_from(value).unwrap_or(0);
        Bar {
            x: units(number * step),
            y: units(GROUND.saturating_sub(height)),
            width: units(step.saturating_sub(step / 6).max(1)),
            height: units(height),
            class: if *is_bad { "bar bad" } else { "bar" },
        }
    };
    (0_u64..).zip(values).map(bar).collect()
}

/// A point in time as a cell.
pub(super) fn time(words: Words, time: Timestamp) -> Cell {
    Cell::Time(time.to_string(), words.time(&time))
}

/// A point in time as a cell, or a dash.
pub(super) fn time_or_dash(words: Words, at: Option<Timestamp>) -> Cell {
    at.map_or_else(dash, |at| time(words, at))
}

/// What stands where nothing is known.
pub(super) fn dash() -> Cell {
    Cell::Text("–".to_owned())
}

/// Texts that have more letters are folded, to so many at the most.
const LONG: usize = 240;
const FOLDED: usize = 120;

/// A text as a cell, a dash for none.
pub(super) fn text(text: &str) -> Cell {
    if text.is_empty() { dash() } else { prose(text.to_owned(), None) }
}

fn prose(text: String, language: Option<&'static str>) -> Cell {
    Cell::Prose { begin: folded(&text), text, language }
}

/// How a text begins, if it is long.
fn folded(text: &str) -> Option<String> {
    if text.chars().count() <= LONG {
        return None;
    }
    let begin: String = text.chars().take(FOLDED).collect();
    let begin = begin.rsplit_once(' ').map_or(begin.as_str(), |(words, _)| words);
    Some(format!("{begin} …"))
}

/// A sentence that is on record as a cell, in the reader's language as far as that has words for it; a dash for none.
pub(super) fn sentence(words: Words, sentence: &str) -> Cell {
    if sentence.is_empty() {
        return dash();
    }
    let (told, language) = in_words(words, sentence);
    in_language(told, language)
}

/// A sentence in a language as a cell.
pub(super) fn in_language(sentence: String, language: &'static str) -> Cell {
    prose(sentence, Some(language))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_folded_between_words() {
        assert!(matches!(text(""), Cell::Text(_)));
        assert!(matches!(text(&"é".repeat(LONG)), Cell::Prose { begin: None, .. }));
        let words = "word ".repeat(60);
        let Cell::Prose { begin: Some(begin), text: whole, .. } = text(&words) else { panic!("it is long") };
        assert_eq!((begin, whole), (format!("{} …", "word ".repeat(24).trim_end()), words));
        let Cell::Prose { begin: Some(begin), .. } = text(&"é".repeat(LONG + 1)) else { panic!("it is long") };
        assert_eq!(begin, format!("{} …", "é".repeat(FOLDED)));
    }

    #[test]
    fn bars_stand_on_the_ground_and_what_is_there_is_seen() {
        let found = bars(&[(0, false), (1, false), (1_000_000, true), (u64::MAX / 2, false)]);
        assert_eq!(found.iter().map(|bar| bar.height).collect::<Vec<_>>(), [0, 2, 2, 110]);
        assert!(found.iter().all(|bar| u64::from(bar.y + bar.height) == GROUND));
        assert!(found.iter().all(|bar| u64::from(bar.x + bar.width) <= WIDTH));
        assert_eq!(found[2].class, "bar bad");
        assert!(bars(&[]).is_empty());
        assert!(bars(&[(0, false); 400]).iter().all(|bar| bar.width == 1));
    }
}
