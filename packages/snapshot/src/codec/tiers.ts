/**
 * How much of a state a snapshot keeps. `exact`: every bit. `int8`: 8 bits a key or value, 16 a recurrent state.
 * `compact`: about 4 bits a recent key or value after entropy coding, 2.7 an old one, 6.4 a recurrent state; the last,
 * unfinished page as `int8`.
 */
export const codecTiers = ['exact', 'int8', 'compact'] as const;
export type CodecTier = (typeof codecTiers)[number];

/** How a page is encoded: `coarse` is what a whole page of `compact` becomes when its tokens are old. */
export const pageTiers = [...codecTiers, 'coarse'] as const;
export type PageTier = (typeof pageTiers)[number];
