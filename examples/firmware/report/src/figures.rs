//! The figures that an image has printed, and the budgets they are held against.

use std::collections::BTreeMap;

/// Figures by name; bytes or instructions, which the name tells.
pub type Figures = BTreeMap<String, u64>;

/// Picks the lines `figure <name> <value> <unit>` out of what an image printed.
///
/// A device tells its figures after each reset: of a peak the largest counts, another figure must be the same.
///
/// # Errors
/// A figure with another form, one told twice with different values, or none at all.
pub fn parse(text: &str) -> Result<Figures, String> {
    let mut figures = Figures::new();
    for line in text.lines().filter(|line| line.starts_with("figure ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let &[_, name, value, "instructions" | "bytes"] = &words[..] else {
            return Err(format!("not `figure <name> <value> <unit>`: {line}"));
        };
        let value = value.parse().map_err(|error| format!("{line}: {error}"))?;
        let known = figures.entry(name.into()).or_insert(value);
        if name.ends_with(".peak") {
            *known = value.max(*known);
        } else if *known != value {
            return Err(format!("{line}: told before as {known}"));
        }
    }
    if figures.is_empty() { Err("no figures".into()) } else { Ok(figures) }
}

/// A line of the budget file.
#[derive(Debug, PartialEq)]
pub struct Budget {
    /// The image.
    pub image: String,
    /// The figure, which must be there.
    pub figure: String,
    /// The most that it may be; `None` for a figure that only must be there.
    pub most: Option<u64>,
    /// What it is to become, where it is not there yet. To miss it is told, and no error.
    pub goal: Option<u64>,
}

/// Reads the budget file: `<image> <figure> <most, or any> [goal <goal>]`, with comments from `#` to the end of a line.
///
/// # Errors
/// Names the line that is not of this form.
pub fn budgets(text: &str) -> Result<Vec<Budget>, String> {
    let mut budgets = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let words: Vec<&str> = line.split('#').next().unwrap_or("").split_whitespace().collect();
        let parsed = |word: &str| word.parse().map_err(|error| format!("line {number}: {word}: {error}"));
        let (image, figure, most, goal) = match &words[..] {
            [] => continue,
            &[image, figure, "any"] => (image, figure, None, None),
            &[image, figure, most] => (image, figure, Some(parsed(most)?), None),
            &[image, figure, most, "goal", goal] => {
                (image, figure, Some(parsed(most)?), Some(parsed(goal)?))
            }
            _ => return Err(format!("line {number}: not `<image> <figure> <most, or any> [goal <goal>]`")),
        };
        if goal.is_some_and(|goal| Some(goal) >= most) {
            return Err(format!("line {number}: a goal is below what is allowed now"));
        }
        budgets.push(Budget { image: image.into(), figure: figure.into(), most, goal });
    }
    if budgets.is_empty() { Err("no budgets".into()) } else { Ok(budgets) }
}

/// Holds figures against the budgets; returns what is wrong, one line each.
pub fn check(budgets: &[Budget], images: &BTreeMap<String, Figures>) -> Vec<String> {
    let wrong = |Budget { image, figure, most, .. }: &Budget| {
        let Some(figures) = images.get(image) else { return Some(format!("{image}: no such image")) };
        let Some(&value) = figures.get(figure) else { return Some(format!("{image}: no figure {figure}")) };
        let most = most.filter(|&most| value > most)?;
        Some(format!("{image}: {figure} is {value}, more than {most}"))
    };
    budgets.iter().filter_map(wrong).collect()
}

/// Returns which goals are not reached, one line each.
pub fn missed(budgets: &[Budget], images: &BTreeMap<String, Figures>) -> Vec<String> {
    let missed = |Budget { image, figure, goal, .. }: &Budget| {
        let (&value, goal) = (images.get(image)?.get(figure)?, (*goal)?);
        (value > goal).then(|| format!("{image}: {figure} is {value}, and is to be {goal}"))
    };
    budgets.iter().filter_map(missed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(value: u64) -> BTreeMap<String, Figures> {
        BTreeMap::from([("full".into(), Figures::from([("xx".into(), value)]))])
    }

    #[test]
    fn reads_only_figures() {
        let figures = parse("hello\nfigure xx 12 instructions\nfigure xx.stack 3 bytes\nbye\n").unwrap();
        assert_eq!(figures, Figures::from([("xx".into(), 12), ("xx.stack".into(), 3)]));
    }

    #[test]
    fn refuses_figures_of_another_form() {
        for text in
            ["", "figure xx", "figure xx 1", "figure xx -1 bytes", "figure xx 1 bytes more", "figure xx 1 ms"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_figure_told_again_is_the_same_and_a_peak_the_largest() {
        let figures = |text| parse(text).map(|figures| figures.into_values().next());
        assert_eq!(figures("figure xx 1 bytes\nfigure xx 1 bytes"), Ok(Some(1)));
        assert!(figures("figure xx 1 bytes\nfigure xx 2 bytes").unwrap_err().contains("told before as 1"));
        assert_eq!(
            figures("figure a.peak 1 bytes\nfigure a.peak 3 bytes\nfigure a.peak 2 bytes"),
            Ok(Some(3))
        );
    }

    #[test]
    fn refuses_budgets_of_another_form() {
        assert!(budgets("# nothing\n").is_err());
        assert!(budgets("full xx").unwrap_err().contains("line 1"));
        assert!(budgets("\nfull xx many").unwrap_err().contains("line 2"));
        for text in ["full xx 1 2", "full xx 1 goal", "full xx any goal 1", "full xx 1 aim 0", "full xx 1 goal 1"] {
            assert!(budgets(text).unwrap_err().contains("line 1"), "{text}");
        }
    }

    #[test]
    fn a_budget_may_be_met_exactly_and_no_more() {
        let budgets = budgets("full xx 100 # a comment").unwrap();
        assert_eq!(check(&budgets, &images(99)), [""; 0]);
        assert_eq!(check(&budgets, &images(100)), [""; 0]);
        assert_eq!(check(&budgets, &images(101)), ["full: xx is 101, more than 100"]);
    }

    #[test]
    fn a_missing_figure_or_image_is_wrong() {
        let budgets = budgets("full ik any\npinned xx 100").unwrap();
        assert_eq!(check(&budgets, &images(1)), ["full: no figure ik", "pinned: no such image"]);
    }

    #[test]
    fn a_goal_is_told_and_no_limit() {
        let budgets = budgets("full xx 100 goal 90").unwrap();
        let told = |value| (check(&budgets, &images(value)).len(), missed(&budgets, &images(value)).len());
        assert_eq!([90, 91, 100, 101].map(told), [(0, 0), (0, 1), (0, 1), (1, 1)]);
        assert_eq!(missed(&budgets, &images(91)), ["full: xx is 91, and is to be 90"]);
    }
}
