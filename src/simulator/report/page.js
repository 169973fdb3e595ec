const plots=[...document.querySelectorAll('.chart[data-unit]')];
const write=(v,unit)=>unit==='percent'?(100*v).toFixed(v&&v<.1?1:0)+' %':v>=1e6?(v/1e6).toFixed(1)+' M':v>=1e4?(v/1e3).toFixed(1)+' k':String(v);
const show=share=>plots.forEach((plot,p)=>{
  const cross=plot.querySelector('.cross'),marks=plot.querySelectorAll('.legend b');
  cross.style.display=share===null?'none':'block';
  if(share!==null)cross.style.left=100*share+'%';
  DATA[p].forEach((line,l)=>{marks[l].textContent=share===null?'':write(line[Math.min(line.length-1,Math.floor(share*line.length))],plot.dataset.unit)});
});
plots.forEach(plot=>{
  const area=plot.querySelector('.area');
  area.addEventListener('pointermove',e=>{const box=area.getBoundingClientRect();show(Math.max(0,Math.min(.9999,(e.clientX-box.left)/box.width)))});
  area.addEventListener('pointerleave',()=>show(null));
});
