//! Forms of a report.

/// Form of the report on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
}

impl Format {
    pub(crate) const CHOICES: [(&'static str, Self); 2] =
        [("text", Self::Text), ("json", Self::Json)];
}
