export default function Reviews() {
  const { counts, columns, rows, withheld, note } = props
  return (
    <div className="toolkit-panel" data-testid="reviews">
      <h4>{counts.title}</h4>
      <div className="toolkit-chart">
        {counts.bars.map((each) => (
          <div key={each.name} className="toolkit-chart-row">
            <span className="toolkit-chart-name">{each.name}</span>
            <span className="toolkit-chart-track">
              <span className={`toolkit-fill toolkit-${each.kind}`} style={{ width: `${each.percent}%` }} />
            </span>
            <span className="toolkit-chart-count">{each.count.toLocaleString("en")}</span>
          </div>
        ))}
      </div>
      {withheld ? <p className="toolkit-note">{withheld}</p> : null}
      <div className="toolkit-scroll" tabIndex={0}>
        <table className="toolkit-table">
          <thead>
            <tr>
              {columns.map((name) => (
                <th key={name}>{name}</th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((each, index) => (
              <tr key={index}>
                <td>{each.place}</td>
                <td className={`toolkit-name toolkit-${each.kind}`}>{each.verdict}</td>
                <td>{each.score}</td>
                <td className="toolkit-text">{each.text}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p className="toolkit-note">{note}</p>
    </div>
  )
}
