export default function Page() {
  return <p>the app</p>
}
