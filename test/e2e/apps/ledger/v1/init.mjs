// Runs once, when the ledger answers: writes its first line.
for (;;) {
  try {
    if ((await fetch('http://ledger:7000/opened', { method: 'POST' })).ok) break;
  } catch {
    await new Promise(resolve => setTimeout(resolve, 50));
  }
}
