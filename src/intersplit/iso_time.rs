//! JavaScript's `new Date(ms).toISOString()`.

/// The latest time that JavaScript has, in milliseconds since 1970.
const MAX_TIME: f64 = 8.64e15;

/// A time as `2023-11-14T22:13:20.000Z`. `None` where JavaScript throws `Invalid time value`.
pub(crate) fn iso_time(ms: f64) -> Option<String> {
    if !ms.is_finite() || ms.abs() > MAX_TIME {
        return None;
    }
    let ms = ms.trunc() as i64;
    let (days, of_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        _ => format!("{}{:06}", if year < 0 { '-' } else { '+' }, year.abs()),
    };
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1_000 % 60);
    Some(format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", of_day % 1_000))
}

/// Year, month and day of a day since 1970, in the Gregorian calendar without a beginning (Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", `civil_from_days`: years that begin in March, in eras of 400).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_javascript_writes_them() {
        let cases = [
            (0.0, "1970-01-01T00:00:00.000Z"),
            (1_700_000_000_000.9, "2023-11-14T22:13:20.000Z"),
            (-0.5, "1970-01-01T00:00:00.000Z"),
            (-1.0, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000.0, "2000-02-29T00:00:00.000Z"),
            (253_402_300_800_000.0, "+010000-01-01T00:00:00.000Z"),
            (-62_167_219_200_001.0, "-000001-12-31T23:59:59.999Z"),
            (8.64e15, "+275760-09-13T00:00:00.000Z"),
            (-8.64e15, "-271821-04-20T00:00:00.000Z"),
        ];
        for (ms, expected) in cases {
            assert_eq!(iso_time(ms).as_deref(), Some(expected), "{ms}");
        }
        assert_eq!(iso_time(8.64e15 + 1.0), None);
        assert_eq!(iso_time(f64::NAN), None);
    }
}
