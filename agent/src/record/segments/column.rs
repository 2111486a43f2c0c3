//! One column of a segment as octets: the values that occur, and which of them each record has.
//!
//! An octet that says whether some value was too long; the number of values in two octets; each value behind its length; then,
//! where there is more than one value, a number for each record, of one octet up to 256 values and of two beyond. All numbers
//! are little-endian.

use std::collections::HashMap;

use foldhash::quality::RandomState;
use memchr::memmem::Finder;

use super::mask::Mask;

/// Octets of a value at most. What is longer may be anything, so that a record that has it is looked at.
const VALUE_MAX: usize = 1024;
/// In place of a length.
const ABSENT: u16 = u16::MAX;
const TOO_LONG: u16 = u16::MAX - 1;
/// Values whose numbers are one octet.
const NARROW: usize = 1 << u8::BITS;

/// A value that some record of the segment has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Absent,
    Is(&'a [u8]),
    /// Longer than what is kept.
    TooLong,
}

/// A column that is being made.
#[derive(Debug, Default)]
pub(super) struct Builder {
    known: HashMap<Vec<u8>, u16, RandomState>,
    absent: Option<u16>,
    too_long: Option<u16>,
    values: Vec<u8>,
    count: u16,
    codes: Vec<u16>,
}

impl Builder {
    /// The value of the next record.
    pub(super) fn push(&mut self, value: Option<&[u8]>) {
        let code = match value {
            None => *self.absent.get_or_insert_with(|| add(&mut self.values, &mut self.count, ABSENT, &[])),
            Some(value) if value.len() > VALUE_MAX => {
                *self.too_long.get_or_insert_with(|| add(&mut self.values, &mut self.count, TOO_LONG, &[]))
            }
            Some(value) => match self.known.get(value) {
                Some(code) => *code,
                None => {
                    let code = add(&mut self.values, &mut self.count, value.len() as u16, value);
                    self.known.insert(value.to_vec(), code);
                    code
                }
            },
        };
        self.codes.push(code);
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let mut data = vec![u8::from(self.too_long.is_some())];
        data.extend_from_slice(&self.count.to_le_bytes());
        data.extend_from_slice(&self.values);
        match usize::from(self.count) {
            0 | 1 => {}
            2..=NARROW => data.extend(self.codes.iter().map(|code| *code as u8)),
            _ => data.extend(self.codes.iter().flat_map(|code| code.to_le_bytes())),
        }
        data
    }
}

fn add(values: &mut Vec<u8>, count: &mut u16, length: u16, value: &[u8]) -> u16 {
    values.extend_from_slice(&length.to_le_bytes());
    values.extend_from_slice(value);
    *count += 1;
    *count - 1
}

/// A column as it was read.
#[derive(Debug)]
pub(crate) struct Column<'a> {
    values: Vec<Value<'a>>,
    codes: Codes<'a>,
    records: usize,
}

#[derive(Debug)]
enum Codes<'a> {
    One,
    Narrow(&'a [u8]),
    Wide(&'a [[u8; 2]]),
}

impl<'a> Column<'a> {
    /// `None` when it is not a column of so many records.
    pub(crate) fn read(data: &'a [u8], records: usize) -> Option<Self> {
        let ([_, low, high], mut rest) = data.split_first_chunk()?;
        let count = usize::from(u16::from_le_bytes([*low, *high]));
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            let (length, behind) = rest.split_first_chunk()?;
            let (value, behind) = match u16::from_le_bytes(*length) {
                ABSENT => (Value::Absent, behind),
                TOO_LONG => (Value::TooLong, behind),
                length => {
                    let (value, behind) = behind.split_at_checked(length.into())?;
                    (Value::Is(value), behind)
                }
            };
            values.push(value);
            rest = behind;
        }
        let (codes, length, are_values) = match count {
            0 | 1 => {
                (Codes::One, if rest.is_empty() { records } else { return None }, count == 1 || records == 0)
            }
            2..=NARROW => {
                (Codes::Narrow(rest), rest.len(), rest.iter().all(|code| usize::from(*code) < count))
            }
            _ => {
                let (codes, []) = rest.as_chunks() else { return None };
                let are_values = codes.iter().all(|code| usize::from(u16::from_le_bytes(*code)) < count);
                (Codes::Wide(codes), codes.len(), are_values)
            }
        };
        (length == records && are_values).then_some(Self { values, codes, records })
    }

    /// `false` when no value of a column can contain what `finder` finds: told without reading it.
    pub(crate) fn may_contain(data: &[u8], finder: &Finder<'_>) -> bool {
        data.first() != Some(&0) || finder.find(data).is_some()
    }

    pub(crate) fn values(&self) -> &[Value<'a>] {
        &self.values
    }

    /// The number of the value of each record.
    pub(crate) fn codes(&self) -> Box<dyn Iterator<Item = usize> + '_> {
        match self.codes {
            Codes::One => Box::new(std::iter::repeat_n(0, self.records)),
            Codes::Narrow(codes) => Box::new(codes.iter().map(|code| usize::from(*code))),
            Codes::Wide(codes) => Box::new(codes.iter().map(|code| usize::from(u16::from_le_bytes(*code)))),
        }
    }

    /// The records whose value may be one of those wanted.
    pub(crate) fn mask(&self, wanted: impl Fn(Value<'a>) -> bool) -> Mask {
        let hits: Vec<bool> = self.values.iter().map(|value| wanted(*value)).collect();
        if !hits.contains(&true) {
            return Mask::none(self.records);
        }
        if !hits.contains(&false) {
            return Mask::all(self.records);
        }
        let is_hit = |code: usize| hits.get(code).copied().unwrap_or(true);
        match self.codes {
            Codes::One => Mask::all(self.records),
            Codes::Narrow(codes) => Mask::of(codes, |code| is_hit(usize::from(*code))),
            Codes::Wide(codes) => Mask::of(codes, |code| is_hit(usize::from(u16::from_le_bytes(*code)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(values: &[Option<Vec<u8>>]) -> Vec<u8> {
        let mut builder = Builder::default();
        values.iter().for_each(|value| builder.push(value.as_deref()));
        builder.finish()
    }

    #[test]
    fn what_is_written_is_read_back_and_found() {
        let few: Vec<_> = (0..300_u32).map(|n| (n % 7 != 0).then(|| vec![b'a' + (n % 5) as u8; 3])).collect();
        let many: Vec<_> = (0..400_u32).map(|n| Some(format!("report-{n}.docx").into_bytes())).collect();
        for values in [few, many, vec![None; 9], vec![Some(b"one".to_vec()); 70], vec![]] {
            let data = written(&values);
            let column = Column::read(&data, values.len()).unwrap();
            let read: Vec<_> = column.codes().map(|code| column.values()[code]).collect();
            let given: Vec<_> = read
                .iter()
                .map(|value| if let Value::Is(value) = value { Some(value.to_vec()) } else { None })
                .collect();
            assert_eq!(given, values);
            for wanted in values.iter().take(20) {
                let found = column.mask(|value| match value {
                    Value::Is(value) => Some(value) == wanted.as_deref(),
                    Value::Absent => wanted.is_none(),
                    Value::TooLong => true,
                });
                let expected: Vec<_> = (0..values.len()).filter(|at| values[*at] == *wanted).collect();
                assert_eq!(found.places().collect::<Vec<_>>(), expected);
            }
            for cut in 0..data.len() {
                assert!(Column::read(&data[..cut], values.len()).is_none(), "cut at {cut}");
            }
            // One value alone has no numbers that could be missing.
            let is_one = column.values().len() == 1;
            assert_eq!(Column::read(&data, values.len() + 1).is_some(), is_one);
        }
    }

    #[test]
    fn a_value_that_is_too_long_may_be_any() {
        let data = written(&[Some(vec![b'x'; VALUE_MAX + 1]), Some(vec![b'x'; VALUE_MAX]), None]);
        let column = Column::read(&data, 3).unwrap();
        assert!(Column::may_contain(&data, &Finder::new("y")), "it may be anything");
        let data_of_short = written(&[Some(b"report.docx".to_vec()), None]);
        assert!(Column::may_contain(&data_of_short, &Finder::new("port.")));
        assert!(!Column::may_contain(&data_of_short, &Finder::new("y")));
        assert_eq!(column.values()[0], Value::TooLong);
        assert!(matches!(column.values()[1], Value::Is(value) if value.len() == VALUE_MAX));
    }

    #[test]
    fn numbers_of_values_that_are_not_there_are_no_column() {
        let mut data = written(&[Some(b"a".to_vec()), Some(b"b".to_vec())]);
        *data.last_mut().unwrap() = 2;
        assert!(Column::read(&data, 2).is_none());
    }
}
