use std::{fmt, marker::PhantomData, ops::Deref, slice, vec};

use super::{Decoder, Element};

/// An array field: bytes of a frame, checked and not yet decoded, or elements that someone put together.
///
/// Iterating decodes an element at a time and keeps none, so a request costs no memory beyond its frame:
///
/// ```
/// # use wire::codec::Array;
/// let partitions: Array<i32> = [1, 2, 3].into_iter().collect();
/// for partition in &partitions {
///     assert!(*partition > 0);
/// }
/// assert_eq!(partitions.values().sum::<i32>(), 6);
/// ```
#[derive(Clone)]
pub struct Array<'a, T>(Repr<'a, T>);

#[derive(Clone)]
enum Repr<'a, T> {
    Encoded(Encoded<'a, T>),
    Lent(&'a [T]),
    Built(Vec<T>),
}

struct Encoded<'a, T> {
    bytes: &'a [u8],
    count: usize,
    version: i16,
    flexible: bool,
    element: PhantomData<fn() -> T>,
}

impl<T> Clone for Encoded<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Encoded<'_, T> {}

impl<'a, T> Array<'a, T> {
    /// `bytes` are exactly `count` elements, each of which was read once without an error.
    pub(super) fn encoded(bytes: &'a [u8], count: usize, version: i16, flexible: bool) -> Self {
        Self(Repr::Encoded(Encoded { bytes, count, version, flexible, element: PhantomData }))
    }

    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Encoded(encoded) => encoded.count,
            Repr::Lent(elements) => elements.len(),
            Repr::Built(elements) => elements.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a, T: Element<'a>> Array<'a, T> {
    /// Elements that deref to `T`: decoded ones are the item's own, built ones are lent.
    pub fn iter(&self) -> Iter<'_, 'a, T> {
        Iter(match &self.0 {
            Repr::Encoded(encoded) => Source::Encoded(Redecoder::new(encoded)),
            Repr::Lent(elements) => Source::Slice(elements.iter()),
            Repr::Built(elements) => Source::Slice(elements.iter()),
        })
    }

    /// Elements by value (clones of built ones): handy for numbers.
    pub fn values(&self) -> impl Iterator<Item = T> + use<'_, 'a, T> {
        self.iter().map(Item::into_owned)
    }

    pub fn to_vec(&self) -> Vec<T> {
        self.values().collect()
    }
}

/// Reads elements again from bytes that were checked.
#[derive(Clone)]
struct Redecoder<'a, T> {
    decoder: Decoder<'a>,
    left: usize,
    element: PhantomData<fn() -> T>,
}

impl<'a, T: Element<'a>> Redecoder<'a, T> {
    fn new(encoded: &Encoded<'a, T>) -> Self {
        let decoder = Decoder::checked(encoded.bytes, encoded.version, encoded.flexible);
        Self { decoder, left: encoded.count, element: PhantomData }
    }

    fn next(&mut self) -> Option<T> {
        self.left = self.left.checked_sub(1)?;
        let element = T::read(&mut self.decoder);
        debug_assert!(element.is_ok(), "an array was checked when it was read");
        element.ok()
    }
}

/// An element while an array is iterated.
#[derive(Clone, Debug)]
pub enum Item<'r, T> {
    Decoded(T),
    Built(&'r T),
}

impl<T: Clone> Item<'_, T> {
    pub fn into_owned(self) -> T {
        match self {
            Self::Decoded(element) => element,
            Self::Built(element) => element.clone(),
        }
    }
}

impl<T> Deref for Item<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self {
            Self::Decoded(element) => element,
            Self::Built(element) => element,
        }
    }
}

impl<T> AsRef<T> for Item<'_, T> {
    fn as_ref(&self) -> &T {
        self
    }
}

/// See [`Array::iter`].
#[derive(Clone)]
pub struct Iter<'r, 'a, T>(Source<'r, 'a, T>);

#[derive(Clone)]
enum Source<'r, 'a, T> {
    Encoded(Redecoder<'a, T>),
    Slice(slice::Iter<'r, T>),
}

impl<'r, 'a, T: Element<'a>> Iterator for Iter<'r, 'a, T> {
    type Item = Item<'r, T>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Source::Encoded(redecoder) => redecoder.next().map(Item::Decoded),
            Source::Slice(elements) => elements.next().map(Item::Built),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.0 {
            Source::Encoded(redecoder) => redecoder.left,
            Source::Slice(elements) => elements.len(),
        };
        (left, Some(left))
    }
}

impl<'a, T: Element<'a>> ExactSizeIterator for Iter<'_, 'a, T> {}

/// The elements of an array, by value.
pub struct IntoIter<'a, T>(Owned<'a, T>);

enum Owned<'a, T> {
    Encoded(Redecoder<'a, T>),
    Lent(slice::Iter<'a, T>),
    Built(vec::IntoIter<T>),
}

impl<'a, T: Element<'a>> Iterator for IntoIter<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match &mut self.0 {
            Owned::Encoded(redecoder) => redecoder.next(),
            Owned::Lent(elements) => elements.next().cloned(),
            Owned::Built(elements) => elements.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.0 {
            Owned::Encoded(redecoder) => redecoder.left,
            Owned::Lent(elements) => elements.len(),
            Owned::Built(elements) => elements.len(),
        };
        (left, Some(left))
    }
}

impl<'a, T: Element<'a>> ExactSizeIterator for IntoIter<'a, T> {}

impl<'a, T: Element<'a>> IntoIterator for Array<'a, T> {
    type Item = T;
    type IntoIter = IntoIter<'a, T>;

    fn into_iter(self) -> IntoIter<'a, T> {
        IntoIter(match self.0 {
            Repr::Encoded(encoded) => Owned::Encoded(Redecoder::new(&encoded)),
            Repr::Lent(elements) => Owned::Lent(elements.iter()),
            Repr::Built(elements) => Owned::Built(elements.into_iter()),
        })
    }
}

impl<'r, 'a, T: Element<'a>> IntoIterator for &'r Array<'a, T> {
    type Item = Item<'r, T>;
    type IntoIter = Iter<'r, 'a, T>;

    fn into_iter(self) -> Iter<'r, 'a, T> {
        self.iter()
    }
}

impl<T> Default for Array<'_, T> {
    fn default() -> Self {
        Self(Repr::Lent(&[]))
    }
}

impl<T> From<Vec<T>> for Array<'_, T> {
    fn from(elements: Vec<T>) -> Self {
        Self(Repr::Built(elements))
    }
}

impl<'a, T> From<&'a [T]> for Array<'a, T> {
    fn from(elements: &'a [T]) -> Self {
        Self(Repr::Lent(elements))
    }
}

impl<T, const N: usize> From<[T; N]> for Array<'_, T> {
    fn from(elements: [T; N]) -> Self {
        Self(Repr::Built(elements.into()))
    }
}

impl<T> FromIterator<T> for Array<'_, T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        Self(Repr::Built(elements.into_iter().collect()))
    }
}

impl<'a, T: Element<'a> + fmt::Debug> fmt::Debug for Array<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values()).finish()
    }
}

impl<'a, T: Element<'a> + PartialEq> PartialEq for Array<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().zip(other.iter()).all(|(a, b)| *a == *b)
    }
}
