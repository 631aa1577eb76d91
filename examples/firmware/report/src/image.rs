//! The flash and the static RAM of an image, by component.

use crate::components::{self, CONSTANTS, MEASURING, UNKNOWN};
use addr2line::Loader;
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags, SymbolKind, elf};
use std::collections::BTreeMap;
use std::path::Path;

/// The sizes of an image, in bytes.
pub struct Image {
    /// Code and constants in flash, each byte with the row that it counts for.
    pub components: BTreeMap<String, u64>,
    /// Variables with a value to begin with, in flash and in RAM.
    pub data: u64,
    /// Variables that begin as zero, or as whatever is there.
    pub bss: u64,
}

impl Image {
    /// Reads an ELF file with line tables.
    pub fn read(path: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let bytes = std::fs::read(path)?;
        let file = object::File::parse(&*bytes)?;
        let loader = Loader::new(path)?;
        let symbols = Symbols::of(&file);
        let mut image = Self { components: BTreeMap::new(), data: 0, bss: 0 };
        for section in file.sections() {
            let SectionFlags::Elf { sh_flags, .. } = section.flags() else {
                return Err("not an ELF file".into());
            };
            let flag = |flag: elf::SectionFlags| sh_flags.0 & flag.0 != 0;
            if !flag(elf::SHF_ALLOC) || section.size() == 0 {
                continue;
            }
            let range = section.address()..section.address() + section.size();
            if flag(elf::SHF_WRITE) && section.file_range().is_none() {
                image.bss += section.size();
            } else if flag(elf::SHF_WRITE) {
                image.data += section.size();
                image.count("initial values of variables".into(), section.size());
            } else if flag(elf::SHF_EXECINSTR) {
                // An instruction has 2 or 4 bytes; literals between functions count for the function before.
                for address in range.step_by(2) {
                    image.count(whose(&loader, &symbols, address)?, 2);
                }
            } else if section.name()? == ".vector_table" {
                image.count("start-up, vector table and allocator".into(), section.size());
            } else {
                for address in range {
                    image.count(symbols.row(address).unwrap_or_else(|| CONSTANTS.into()), 1);
                }
            }
        }
        if image.components.is_empty() { Err("no code in it".into()) } else { Ok(image) }
    }

    /// Everything in flash but the measuring code.
    pub fn flash(&self) -> u64 {
        self.components.iter().filter(|(row, _)| *row != MEASURING).map(|(_, bytes)| bytes).sum()
    }

    /// The measuring code.
    pub fn measuring(&self) -> u64 {
        self.components.get(MEASURING).copied().unwrap_or(0)
    }

    fn count(&mut self, row: String, bytes: u64) {
        *self.components.entry(row).or_default() += bytes;
    }
}

/// The row of the innermost function at this address that is not of the language's own library.
fn whose(loader: &Loader, symbols: &Symbols, address: u64) -> Result<String, Box<dyn std::error::Error>> {
    let mut frames = loader.find_frames(address)?;
    let mut known = false;
    while let Some(frame) = frames.next()? {
        let Some(file) = frame.location.and_then(|location| location.file) else { continue };
        known = true;
        if let Some(row) = components::of_file(file) {
            return Ok(row);
        }
    }
    Ok(match symbols.row(address) {
        Some(row) => row,
        None if known => "core and alloc".into(),
        None => UNKNOWN.into(),
    })
}

/// Where each symbol begins and ends, with its row.
struct Symbols(BTreeMap<u64, (u64, Option<String>)>);

impl Symbols {
    fn of(file: &object::File) -> Self {
        let named = file.symbols().filter(|symbol| {
            symbol.size() > 0 && matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Data)
        });
        // The lowest bit of a function's address only says that it is of the Thumb instruction set.
        let places = named.map(|symbol| {
            let begin =
                if symbol.kind() == SymbolKind::Text { symbol.address() & !1 } else { symbol.address() };
            let row = symbol.name().ok().and_then(components::of_symbol);
            (begin, (begin + symbol.size(), row))
        });
        Self(places.collect())
    }

    fn row(&self, address: u64) -> Option<String> {
        let (_, (end, row)) = self.0.range(..=address).next_back()?;
        if address < *end { row.clone() } else { None }
    }
}
