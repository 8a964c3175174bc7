//! Writes the seeds of every target, and the files that inputs stand for.
//!
//! ```text
//! seeds write DIR                      DIR/TARGET/NAME for every seed
//! seeds show TARGET INPUT FILE         what the target makes of an input
//! ```

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use mcsnap_fuzz::{manifest_of, seeds, segment_of, warm_file_of};

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["write", folder] => write(Path::new(folder))?,
        ["show", target, input, file] => {
            let input = fs::read(input)?;
            let content = match *target {
                "segment" | "salvage" => segment_of(&input).into_owned(),
                "manifest" => manifest_of(&input).into_owned(),
                "warm_file" => {
                    let (meta, content) = warm_file_of(&input);
                    fs::write(format!("{file}.meta"), meta)?;
                    content
                }
                // The first byte is the length of the pieces.
                _ => input.get(1..).unwrap_or_default().to_vec(),
            };
            fs::write(file, content)?;
        }
        _ => {
            eprintln!("usage: seeds write DIR | seeds show TARGET INPUT FILE");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write(folder: &Path) -> io::Result<()> {
    for (target, seeds) in seeds::all() {
        let folder = folder.join(target);
        fs::create_dir_all(&folder)?;
        for (name, input) in seeds {
            fs::write(folder.join(name), input)?;
        }
    }
    Ok(())
}
