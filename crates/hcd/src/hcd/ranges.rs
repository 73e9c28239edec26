//! Ranges of a method's numbers, told in the words of the recipe: `temperature = 0, must be positive`.

/// A finite number above 0.
pub fn positive(problems: &mut Vec<String>, name: &str, value: f64) {
    if !(value.is_finite() && value > 0.0) {
        problems.push(format!("{name} = {value}, must be a positive number"));
    }
}

/// A finite number, 0 or above.
pub fn not_negative(problems: &mut Vec<String>, name: &str, value: f64) {
    if !(value.is_finite() && value >= 0.0) {
        problems.push(format!("{name} = {value}, must be 0 or a positive number"));
    }
}
