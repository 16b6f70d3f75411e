/**
 * Why something is aborted: this process goes, and another one takes up what it has left. What runs elsewhere, and not in
 * processes of ours, need not be ended then.
 */
export class Stopping extends Error {
  constructor() {
    super('the daemon stops');
    this.name = 'Stopping';
  }
}
