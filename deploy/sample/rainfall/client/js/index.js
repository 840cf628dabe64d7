// Shows what the component tells over its websocket, and opens another one whenever that is closed: the rain server that it
// went through stops, or the instance moved.
const firstWaitMs = 100
const mostWaitMs = 3000
const barsMax = 30

for (const place of document.querySelectorAll('[data-rainfall]')) watch(place)

function watch(place) {
  const drops = place.querySelector('[data-drops]')
  const status = place.querySelector('[data-status]')
  const bars = place.querySelector('[data-bars]')
  let waitMs = firstWaitMs

  const show = text => {
    status.dataset.status = text
    status.textContent = text
  }

  const draw = ({ sum, now }) => {
    drops.textContent = sum
    const bar = document.createElement('i')
    bar.style.height = `${now * 10}%`
    bars.append(bar)
    if (bars.children.length > barsMax) bars.firstChild.remove()
  }

  const open = () => {
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws'
    const socket = new WebSocket(`${scheme}://${location.host}/rainfall/websockets/rainfall`)
    socket.onmessage = ({ data }) => {
      const { event, args } = JSON.parse(data)
      if (event !== 'drops') return
      waitMs = firstWaitMs
      show('live')
      draw(args[0])
    }
    socket.onclose = () => {
      show('connecting')
      setTimeout(open, waitMs * (0.5 + Math.random()))
      waitMs = Math.min(waitMs * 2, mostWaitMs)
    }
  }
  open()
}
