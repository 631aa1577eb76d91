//! Prints the footprint report, or holds its figures against budgets.
//!
//! ```text
//! footprint-report [--check BUDGETS] (--device|--peer NAME IMAGE OUTPUT)…
//! ```
//! `IMAGE` is an ELF file with line tables, `OUTPUT` what it printed on the emulated board.

mod components;
mod figures;
mod image;
mod table;

use figures::Figures;
use image::Image;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

/// An image and its figures, with those that its sizes give.
pub struct Measured {
    name: String,
    image: Image,
    figures: Figures,
}

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("footprint-report: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(mut arguments: impl Iterator<Item = String>) -> Result<ExitCode, Box<dyn Error>> {
    let (mut devices, mut peers, mut budgets) = (Vec::new(), Vec::new(), None);
    while let Some(option) = arguments.next() {
        let mut value = |what: &str| arguments.next().ok_or(format!("{option}: {what} is missing"));
        match option.as_str() {
            "--check" => budgets = Some(value("the file of budgets")?),
            "--device" | "--peer" => {
                let (name, image, output) = (value("its name")?, value("its image")?, value("its output")?);
                let measured =
                    measure(name, &image, &output).map_err(|error| format!("{image}, {output}: {error}"))?;
                if option == "--device" { devices.push(measured) } else { peers.push(measured) }
            }
            _ => return Err(format!("unknown option {option}").into()),
        }
    }
    print!("{}", table::report(&devices, &peers));
    let Some(path) = budgets else { return Ok(ExitCode::SUCCESS) };
    let budgets = fs::read_to_string(&path).map_err(|error| error.to_string());
    let budgets =
        budgets.and_then(|text| figures::budgets(&text)).map_err(|error| format!("{path}: {error}"))?;
    let images: BTreeMap<String, Figures> =
        devices.into_iter().chain(peers).map(|measured| (measured.name, measured.figures)).collect();
    for line in figures::missed(&budgets, &images) {
        println!("\nGoal not reached: {line}.");
    }
    let wrong = figures::check(&budgets, &images);
    for line in &wrong {
        eprintln!("over budget: {line}");
    }
    if wrong.is_empty() {
        println!("\nAll {} budgets are kept.", budgets.len());
        Ok(ExitCode::SUCCESS)
    } else {
        Ok(ExitCode::FAILURE)
    }
}

fn measure(name: String, image: &str, output: &str) -> Result<Measured, Box<dyn Error>> {
    let image = Image::read(Path::new(image))?;
    let mut figures = figures::parse(&fs::read_to_string(output)?)?;
    let heap = |figure: &str| figures.get(figure).copied().unwrap_or(0);
    // The region is as large as the image cares to make it; what counts is what is used of it.
    let variables =
        (image.data + image.bss).checked_sub(heap("heap.region")).ok_or("the heap is larger than RAM")?;
    let ram = variables + heap("heap.peak");
    let own = [
        ("flash", image.flash()),
        ("flash.measuring", image.measuring()),
        ("ram.data", image.data),
        ("ram.bss", variables - image.data),
        ("ram", ram),
    ];
    for (figure, value) in own {
        if figures.insert(figure.into(), value).is_some() {
            return Err(format!("the image told the figure {figure}").into());
        }
    }
    // Every XX verifies a credential; the budget of DESIGN.md is told without that, too.
    if let (Some(xx), Some(verify)) = (figures.get("xx"), figures.get("credential.verify")) {
        let rest = xx.checked_sub(*verify).ok_or("XX takes less than the credential in it")?;
        figures.insert("xx.unverified".into(), rest);
    }
    Ok(Measured { name, image, figures })
}
