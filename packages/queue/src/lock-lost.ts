/** Why a run is stopped whose worker has taken the job anew: it had lost its lock. */
export class LockLost extends DOMException {
  constructor() {
    super('the lock was lost, and the job taken anew', 'AbortError');
  }
}
