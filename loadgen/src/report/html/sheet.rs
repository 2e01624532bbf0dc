//! A page with one table: the steps of a search, or a comparison.

use anyhow::Context;
use askama::Template;

use super::Figure;
use crate::report::chart::Chart;

/// What stands on it.
#[derive(Debug, Default)]
pub struct Sheet {
    /// What kind of page it is.
    pub kind: &'static str,
    /// What was measured.
    pub title: String,
    /// When it began, RFC 3339.
    pub began: String,
    /// As it was typed.
    pub command: String,
    /// What came of it, and whether that is well.
    pub verdict: Vec<(bool, String)>,
    /// Over the table.
    pub heading: &'static str,
    /// Drawn above the table.
    pub charts: Vec<Chart>,
    /// The names of the columns.
    pub header: Vec<String>,
    /// Its rows, each as long as the header.
    pub rows: Vec<Vec<String>>,
    /// What is to be said below it.
    pub notes: Vec<String>,
}

#[derive(Template)]
#[template(path = "html/sheet.html")]
struct Page<'a> {
    sheet: &'a Sheet,
    charts: Vec<Figure>,
    version: &'static str,
}

impl Sheet {
    /// The page, whole.
    pub fn page(&self) -> anyhow::Result<String> {
        let charts = self.charts.iter().map(Figure::of).collect::<anyhow::Result<_>>()?;
        let page = Page { sheet: self, charts, version: env!("CARGO_PKG_VERSION") };
        page.render().context("writing the page")
    }
}
