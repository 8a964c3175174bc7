//! The results as tables that a README can show as they are.

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};

use crate::job::Who;
use crate::results::{Results, Row};
use crate::statistics::Spread;

/// What the rounds took.
pub(crate) fn of_rounds(results: &Results) -> Table {
    let has_other = results.rows.iter().any(|row| row.who == Who::Other);
    let mut header = vec!["job", "by", "wall s", "to floor"];
    if has_other {
        header.push("to other");
    }
    header.push("CPU s");
    if has_other {
        header.push("CPU to other");
    }
    header.extend(["servers' CPU s", "peak MiB", "of its own"]);
    let mut table = markdown(header);
    for row in &results.rows {
        table.add_row(cells(row, has_other));
    }
    table
}

fn cells(row: &Row, has_other: bool) -> Vec<String> {
    let shown = |spread: &Option<Spread>| spread.map_or("-".to_owned(), |it| it.to_string());
    let by = match row.who {
        Who::Floor => format!("floor: {}", row.job.floor()),
        Who::This | Who::Other => row.who.name().to_owned(),
    };
    let mut cells = vec![row.job.name().to_owned(), by, row.wall_s.to_string()];
    cells.push(shown(&row.wall_to_floor));
    if has_other {
        cells.push(shown(&row.wall_to_other));
    }
    cells.push(row.cpu_s.to_string());
    if has_other {
        cells.push(shown(&row.cpu_to_other));
    }
    // A verification asks no server.
    let is_asked = row.servers_cpu_s.max > 0.0;
    cells.push(shown(&is_asked.then_some(row.servers_cpu_s)));
    cells.push(format!("{:.1}", row.peak_resident_mib));
    cells.push(format!("{:.1}", row.peak_anonymous_mib));
    cells
}

/// What the runs under `strace` spent on files.
pub(crate) fn of_file_calls(results: &Results) -> Table {
    let header = vec![
        "job",
        "by",
        "writes",
        "MiB",
        "in writes s",
        "fsyncs",
        "in fsyncs s",
    ];
    let mut table = markdown(header);
    for traced in &results.file_calls {
        let (writes, syncs) = (traced.writes, traced.syncs);
        table.add_row(vec![
            traced.job.name().to_owned(),
            traced.who.name().to_owned(),
            writes.count.to_string(),
            format!("{:.1}", writes.bytes as f64 / f64::from(1 << 20)),
            format!("{:.2}", writes.seconds),
            syncs.count.to_string(),
            format!("{:.2}", syncs.seconds),
        ]);
    }
    table
}

/// An empty table with text on the left and numbers on the right.
fn markdown(header: Vec<&str>) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
