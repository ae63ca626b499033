/**
 * How much of a state a snapshot keeps. `exact`: every bit. `int8`: 8 bits a key or value, 16 a recurrent state.
 * `compact`: about 3 bits a key or value after entropy coding, 8 a recurrent state; the last, unfinished page as `int8`.
 */
export const codecTiers = ['exact', 'int8', 'compact'] as const;
export type CodecTier = (typeof codecTiers)[number];
