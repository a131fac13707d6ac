//! Figures as tables.

/// Prints rows of cells as a table, the first row as its head.
pub(crate) fn print_table(rows: &[Vec<String>]) {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for (at, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("| {} |", cells.join(" | "));
        if at == 0 {
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            println!("| {} |", rules.join(" | "));
        }
    }
}

/// Prints a table of one row, each cell with its head.
pub(crate) fn print_row(cells: &[(&str, String)]) {
    let (head, row) = cells.iter().map(|(head, cell)| ((*head).to_owned(), cell.clone())).unzip();
    print_table(&[head, row]);
}

/// Returns a number of bytes in MiB.
pub(crate) fn mib(bytes: f64) -> String {
    format!("{:.0}", bytes / f64::from(1 << 20))
}
