/** Next calls this once, when its server starts. */
export async function register() {
  if (process.env.NEXT_RUNTIME === 'nodejs') await (await import('./sockets.ts')).listen()
}
