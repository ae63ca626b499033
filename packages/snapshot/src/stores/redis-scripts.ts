/**
 * What must happen at once. A session is a hash of `bytes`, `version`, `size` and `pages` (keys, one a line); KEYS are those
 * of `snapshotKeys` that each script names, ARGV[1] is what a page's key begins with.
 */

/** Forgets a session, and the pages that nobody else names; so too one that Redis itself has evicted, whose size nobody knows. */
const forget = `
local function forget(prefix, session, id, references, sessions, bytes)
  local pages = redis.call('HGET', session, 'pages')
  if not pages then
    if redis.call('ZREM', sessions, id) == 0 then return end
    local total = 0
    for _, other in ipairs(redis.call('ZRANGE', sessions, 0, -1)) do
      local key = string.sub(session, 1, #session - #id) .. other
      total = total + tonumber(redis.call('HGET', key, 'size') or '0')
    end
    redis.call('SET', bytes, total)
    return
  end
  for page in string.gmatch(pages, '[^\\n]+') do
    if redis.call('HINCRBY', references, page, -1) <= 0 then
      redis.call('HDEL', references, page)
      redis.call('UNLINK', prefix .. page)
    end
  end
  redis.call('DECRBY', bytes, tonumber(redis.call('HGET', session, 'size')))
  redis.call('UNLINK', session)
  redis.call('ZREM', sessions, id)
end
`;

export const scripts = {
  /**
   * KEYS session, references, sessions, bytes; ARGV prefix of pages, id, version replaced ('' for none), new version,
   * manifest, size, now in ms, ms to live of its pages, ms before which what is stored counts as none, page keys. Gives
   * 'stored', 'conflict' or 'missing'.
   */
  putManifest: `${forget}
    local version = redis.call('HGET', KEYS[1], 'version') or ''
    local storedAt = tonumber(redis.call('ZSCORE', KEYS[3], ARGV[2]) or '0')
    local isNone = ARGV[3] == '' and storedAt < tonumber(ARGV[9])
    if version ~= ARGV[3] and not isNone then return 'conflict' end
    for at = 10, #ARGV do
      if redis.call('EXISTS', ARGV[1] .. ARGV[at]) == 0 then return 'missing' end
    end
    if version == '' then forget(ARGV[1], KEYS[1], ARGV[2], KEYS[2], KEYS[3], KEYS[4]) end
    local old = redis.call('HGET', KEYS[1], 'pages') or ''
    local oldSize = tonumber(redis.call('HGET', KEYS[1], 'size') or '0')
    for at = 10, #ARGV do
      redis.call('HINCRBY', KEYS[2], ARGV[at], 1)
      redis.call('PEXPIRE', ARGV[1] .. ARGV[at], ARGV[8])
    end
    for page in string.gmatch(old, '[^\\n]+') do
      if redis.call('HINCRBY', KEYS[2], page, -1) <= 0 then
        redis.call('HDEL', KEYS[2], page)
        redis.call('UNLINK', ARGV[1] .. page)
      end
    end
    redis.call('HSET', KEYS[1], 'bytes', ARGV[5], 'version', ARGV[4], 'size', ARGV[6],
      'pages', table.concat(ARGV, '\\n', 10))
    redis.call('ZADD', KEYS[3], ARGV[7], ARGV[2])
    redis.call('INCRBY', KEYS[4], tonumber(ARGV[6]) - oldSize)
    return 'stored'`,
  /** KEYS session, references, sessions, bytes; ARGV prefix of pages, id, ms before which it must have been stored. */
  forget: `${forget}
    local storedAt = redis.call('ZSCORE', KEYS[3], ARGV[2])
    if storedAt and tonumber(storedAt) > tonumber(ARGV[3]) then return end
    forget(ARGV[1], KEYS[1], ARGV[2], KEYS[2], KEYS[3], KEYS[4])`,
} as const;
