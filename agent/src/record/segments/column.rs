//! One column of a segment as octets: the values that occur, and which of them each record has.
//!
//! An octet that says whether some value was too long; the number of values in two octets; where there is more than one, the
//! number of each record's value, in one octet up to 256 values and in two beyond; each value behind its length. All numbers are
//! little-endian.

use std::collections::HashMap;

use foldhash::quality::RandomState;
use memchr::memmem::Finder;

use super::mask::Mask;

/// Octets of a value at most. What is longer may be anything, so that a record that has it is looked at.
const VALUE_MAX: usize = 1024;
/// In place of a length.
const ABSENT: u16 = u16::MAX;
const TOO_LONG: u16 = u16::MAX - 1;
/// Records are few when they are fewer than one in so many.
const FEW: usize = 8;
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
        match usize::from(self.count) {
            0 | 1 => {}
            2..=NARROW => data.extend(self.codes.iter().map(|code| *code as u8)),
            _ => data.extend(self.codes.iter().flat_map(|code| code.to_le_bytes())),
        }
        data.extend_from_slice(&self.values);
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
    count: usize,
    codes: Codes<'a>,
    records: usize,
    /// Each behind its length.
    values: &'a [u8],
}

#[derive(Debug)]
enum Codes<'a> {
    One,
    Narrow(&'a [u8]),
    Wide(&'a [[u8; 2]]),
}

impl Codes<'_> {
    fn get(&self, at: usize) -> Option<usize> {
        match self {
            Self::One => Some(0),
            Self::Narrow(codes) => codes.get(at).map(|code| usize::from(*code)),
            Self::Wide(codes) => codes.get(at).map(|code| usize::from(u16::from_le_bytes(*code))),
        }
    }
}

impl<'a> Column<'a> {
    /// `None` when it is not a column of so many records.
    pub(crate) fn read(data: &'a [u8], records: usize) -> Option<Self> {
        let ([_, low, high], rest) = data.split_first_chunk()?;
        let count = usize::from(u16::from_le_bytes([*low, *high]));
        let (codes, values) = match count {
            0 if records > 0 => return None,
            0 | 1 => (Codes::One, rest),
            2..=NARROW => {
                let (codes, values) = rest.split_at_checked(records)?;
                (Codes::Narrow(codes), values)
            }
            _ => {
                let (codes, values) = rest.split_at_checked(2 * records)?;
                (Codes::Wide(codes.as_chunks().0), values)
            }
        };
        Some(Self { count, codes, records, values })
    }

    /// `false` when no value of a column can contain what `finder` finds: told without reading it.
    pub(crate) fn may_contain(data: &[u8], finder: &Finder<'_>) -> bool {
        data.first() != Some(&0) || finder.find(data).is_some()
    }

    /// The values in the order of their numbers. `None` when there are not as many as there should be.
    pub(crate) fn values(&self) -> Option<Vec<Value<'a>>> {
        let mut values = Vec::with_capacity(self.count);
        self.each_value(|_, value| values.push(value))?;
        Some(values)
    }

    /// The number of the value of each record.
    pub(crate) fn codes(&self) -> impl Iterator<Item = usize> {
        (0..self.records).filter_map(|at| self.codes.get(at))
    }

    /// Those of the records `within` whose value may be wanted. `None` when the column is not as it should be.
    pub(crate) fn mask(&self, within: &Mask, wanted: impl Fn(Value<'a>) -> bool) -> Option<Mask> {
        // Of few records few values are asked about.
        let few = (within.len() * FEW < self.records).then(|| within.places().collect::<Vec<_>>());
        let mut asked = vec![few.is_none(); self.count];
        for code in few.iter().flatten().filter_map(|at| self.codes.get(*at)) {
            *asked.get_mut(code)? = true;
        }
        let mut hits = asked;
        let mut any = false;
        self.each_value(|code, value| {
            if let Some(hit) = hits.get_mut(code) {
                *hit = *hit && wanted(value);
                any |= *hit;
            }
        })?;
        if !any {
            return Some(Mask::none(self.records));
        }
        // The number of no value: whoever has it is looked at.
        let is_hit = |code: usize| hits.get(code).copied().unwrap_or(true);
        if let Some(few) = few {
            let mut mask = Mask::none(self.records);
            few.into_iter().filter(|at| self.codes.get(*at).is_none_or(is_hit)).for_each(|at| mask.add(at));
            return Some(mask);
        }
        let mut mask = match self.codes {
            Codes::One => Mask::all(self.records),
            Codes::Narrow(codes) => Mask::of(codes, |code| is_hit(usize::from(*code))),
            Codes::Wide(codes) => Mask::of(codes, |code| is_hit(usize::from(u16::from_le_bytes(*code)))),
        };
        mask.and(within);
        Some(mask)
    }

    fn each_value(&self, mut each: impl FnMut(usize, Value<'a>)) -> Option<()> {
        let mut rest = self.values;
        for code in 0..self.count {
            let (length, behind) = rest.split_first_chunk()?;
            let (value, behind) = match u16::from_le_bytes(*length) {
                ABSENT => (Value::Absent, behind),
                TOO_LONG => (Value::TooLong, behind),
                length => {
                    let (value, behind) = behind.split_at_checked(length.into())?;
                    (Value::Is(value), behind)
                }
            };
            each(code, value);
            rest = behind;
        }
        rest.is_empty().then_some(())
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
            let read = column.values().unwrap();
            let given: Vec<_> = column
                .codes()
                .map(|code| if let Value::Is(value) = read[code] { Some(value.to_vec()) } else { None })
                .collect();
            assert_eq!(given, values);
            let some: Vec<usize> = (0..values.len()).filter(|at| at % 37 == 5).collect();
            for wanted in values.iter().take(20) {
                let is_wanted = |value: Value<'_>| match value {
                    Value::Is(value) => Some(value) == wanted.as_deref(),
                    Value::Absent => wanted.is_none(),
                    Value::TooLong => true,
                };
                for within in [(0..values.len()).collect(), some.clone(), vec![]] {
                    let mut mask = Mask::none(values.len());
                    within.iter().for_each(|at| mask.add(*at));
                    let found = column.mask(&mask, is_wanted).unwrap();
                    let expected: Vec<_> = within.into_iter().filter(|at| values[*at] == *wanted).collect();
                    assert_eq!(found.places().collect::<Vec<_>>(), expected);
                }
            }
            for cut in 0..data.len() {
                let cut = Column::read(&data[..cut], values.len());
                assert!(cut.is_none_or(|cut| cut.values().is_none()));
            }
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
        let values = column.values().unwrap();
        assert_eq!(values[0], Value::TooLong);
        assert!(matches!(values[1], Value::Is(value) if value.len() == VALUE_MAX));
    }

    #[test]
    fn a_record_with_the_number_of_no_value_is_looked_at() {
        let mut data = written(&[Some(b"a".to_vec()), Some(b"b".to_vec())]);
        data[3 + 1] = 2;
        let column = Column::read(&data, 2).unwrap();
        let found = column.mask(&Mask::all(2), |value| value == Value::Is(b"a")).unwrap();
        assert_eq!(found.places().collect::<Vec<_>>(), [0, 1]);
    }
}
