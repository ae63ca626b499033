import { byte, choice, literal, optional, type Regular, repeat, sequence } from './regular.ts';

/** Decimal digits of which every double keeps all. */
const exactDigits = 15;
const beyond = 10 ** exactDigits;
const digit = byte(0x30, 0x39);
const nonZero = byte(0x31, 0x39);
const digits = (count: number) => repeat(digit, count, count);
const minus = literal('-');
const whole = choice([literal('0'), sequence(nonZero, repeat(digit, 0, exactDigits - 1))]);

export const anyInteger = choice([
  literal('0'),
  sequence(optional(minus), nonZero, repeat(digit, 0, exactDigits - 1)),
]);

/** Any number; with bounds on its digits, so that it is none that JavaScript rounds to infinity. */
export const anyNumber = sequence(
  optional(minus),
  whole,
  optional(sequence(literal('.'), repeat(digit, 1, exactDigits))),
  optional(
    sequence(
      choice([literal('e'), literal('E')]),
      optional(choice([literal('+'), minus])),
      repeat(digit, 1, 2),
    ),
  ),
);

export interface Bound {
  readonly value: number;
  readonly exclusive: boolean;
}

/** Bounds between which nothing can be written; `message` says why. */
export class BoundsError extends Error {}

/**
 * Numbers between two bounds, written without an exponent, with at most `places` decimal places or as many as the bounds
 * have, and of at most fifteen digits. Throws `BoundsError` where no such number is between them.
 */
export function numbersBetween(least: Bound | null, greatest: Bound | null, places: number): Regular {
  if ((least && least.value >= beyond) || (greatest && greatest.value <= -beyond)) {
    throw new BoundsError(`leaves only numbers of more than ${exactDigits} digits`);
  }
  const min = least && least.value > -beyond ? least : null;
  const max = greatest && greatest.value < beyond ? greatest : null;
  const decimals = places === 0 ? 0 : Math.max(places, ...[min, max].map((bound) => placesOf(bound)));
  const most = 10n ** BigInt(exactDigits) - 1n;
  return choice(
    Array.from({ length: decimals + 1 }, (_, fraction) => {
      const scale = 10n ** BigInt(fraction);
      // The whole part keeps the digits that the longest fraction leaves of the fifteen.
      const limit = (most / 10n ** BigInt(decimals)) * scale;
      const low = min ? lowest(scaled(min, fraction), min.exclusive) : -limit;
      const high = max ? highest(scaled(max, fraction), max.exclusive) : limit;
      if (low > limit || high < -limit)
        throw new BoundsError(`leaves only numbers of more than ${exactDigits} digits`);
      return scaledBetween(low < -limit ? -limit : low, high > limit ? limit : high, fraction);
    }),
  );
}

/** Integers times 10^-fraction. */
function scaledBetween(low: bigint, high: bigint, fraction: number): Regular {
  const positive = unsigned(low > 0n ? low : 0n, high, fraction);
  const negative = unsigned(high < 0n ? -high : 1n, -low, fraction);
  return choice([positive, sequence(minus, negative)]);
}

function unsigned(low: bigint, high: bigint, fraction: number): Regular {
  if (low > high) return choice([]);
  if (fraction === 0) return integers(low, high);
  const scale = 10n ** BigInt(fraction);
  const [first, last] = [low / scale, high / scale];
  const point = literal('.');
  const within = (value: bigint, from: bigint, to: bigint) =>
    sequence(literal(String(value)), point, padded(from, to, fraction));
  if (first === last) return within(first, low % scale, high % scale);
  return choice([
    within(first, low % scale, scale - 1n),
    first + 1n > last - 1n ? choice([]) : sequence(integers(first + 1n, last - 1n), point, digits(fraction)),
    within(last, 0n, high % scale),
  ]);
}

/** Integers without leading zeros: by their number of digits. */
function integers(low: bigint, high: bigint): Regular {
  const options: Regular[] = [];
  for (let length = String(low).length; length <= String(high).length; length++) {
    const smallest = length === 1 ? 0n : 10n ** BigInt(length - 1);
    const largest = 10n ** BigInt(length) - 1n;
    options.push(padded(low > smallest ? low : smallest, high < largest ? high : largest, length));
  }
  return choice(options);
}

/** Integers of exactly `length` digits, with leading zeros. */
function padded(low: bigint, high: bigint, length: number): Regular {
  if (length === 0) return sequence();
  const unit = 10n ** BigInt(length - 1);
  const [first, last] = [low / unit, high / unit];
  const zero = 0x30;
  const headed = (head: bigint, from: bigint, to: bigint) =>
    sequence(byte(zero + Number(head)), padded(from, to, length - 1));
  if (low === 0n && high === 10n * unit - 1n) return digits(length);
  if (first === last) return headed(first, low % unit, high % unit);
  return choice([
    headed(first, low % unit, unit - 1n),
    ...(first + 1n > last - 1n
      ? []
      : [sequence(byte(zero + Number(first) + 1, zero + Number(last) - 1), digits(length - 1))]),
    headed(last, 0n, high % unit),
  ]);
}

/** A bound times 10^fraction, as an exact quotient. */
function scaled({ value }: Bound, fraction: number): { numerator: bigint; denominator: bigint } {
  const { mantissa, exponent } = decimal(value);
  const power = exponent + fraction;
  return power >= 0
    ? { numerator: mantissa * 10n ** BigInt(power), denominator: 1n }
    : { numerator: mantissa, denominator: 10n ** BigInt(-power) };
}

function lowest({ numerator, denominator }: ReturnType<typeof scaled>, exclusive: boolean): bigint {
  const floor = floorOf(numerator, denominator);
  return floor * denominator === numerator && !exclusive ? floor : floor + 1n;
}

function highest({ numerator, denominator }: ReturnType<typeof scaled>, exclusive: boolean): bigint {
  const floor = floorOf(numerator, denominator);
  return floor * denominator === numerator && exclusive ? floor - 1n : floor;
}

function floorOf(numerator: bigint, denominator: bigint): bigint {
  const quotient = numerator / denominator;
  return numerator < 0n && quotient * denominator !== numerator ? quotient - 1n : quotient;
}

function placesOf(bound: Bound | null): number {
  return bound === null ? 0 : Math.max(0, -decimal(bound.value).exponent);
}

/** A number as JavaScript writes it: mantissa times 10^exponent. */
function decimal(value: number): { mantissa: bigint; exponent: number } {
  const [, sign, before = '', after = '', power = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(value)) ?? [];
  if (sign === undefined) throw new BoundsError('is no finite number');
  const figures = before + after;
  const exponent = Number(power) - after.length;
  const significant = figures.replace(/^0+/, '').length;
  if (significant > exactDigits || exponent < -9 || significant + exponent > exactDigits) {
    throw new BoundsError(`must have at most ${exactDigits} digits, 9 of them behind the point`);
  }
  return { mantissa: BigInt(sign + figures), exponent };
}
